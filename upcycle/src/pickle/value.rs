//! What a program made: plain values in one list, and a cursor to walk them with.

use super::globals::Class;
use super::tensor::{Storage, StoredTensor};

/// Place of a value in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(pub(super) u32);

/// One value. What it holds stands elsewhere in the list, so that values may be shared, and even hold themselves, as in Python.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Bytes, // nothing reads them
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class),
    Storage(Storage),
    Tensor(Box<StoredTensor>),
    Record(Record),
}

/// An object of a known class, of which nothing is known but what it holds.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) class: &'static str,
    /// The tuple it was made from.
    pub(super) arguments: Id,
    /// The dictionary of its attributes.
    pub(super) fields: Option<Id>,
}

/// All values, and the one the program ended with.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
}

/// A value of a file.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    document: &'a Document,
    id: Id,
}

impl<'a> Value<'a> {
    pub(super) fn root(document: &'a Document) -> Self {
        Self { document, id: document.root }
    }

    fn node(self) -> &'a Node {
        &self.document.nodes[self.id.0 as usize]
    }

    fn at(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// What it is, as a noun for sentences.
    pub fn noun(self) -> String {
        self.node().noun()
    }

    /// A truth value.
    pub fn bool(self) -> Option<bool> {
        if let Node::Bool(truth) = self.node() { Some(*truth) } else { None }
    }

    /// Whether it is Python's `None`.
    pub fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// A whole number.
    pub fn int(self) -> Option<i64> {
        if let Node::Int(number) = self.node() { Some(*number) } else { None }
    }

    /// A number.
    pub fn float(self) -> Option<f64> {
        if let Node::Float(number) = self.node() { Some(*number) } else { self.int().map(|number| number as f64) }
    }

    /// A string.
    pub fn text(self) -> Option<&'a str> {
        if let Node::Text(text) = self.node() { Some(text) } else { None }
    }

    /// A tensor.
    pub fn tensor(self) -> Option<&'a StoredTensor> {
        if let Node::Tensor(tensor) = self.node() { Some(tensor) } else { None }
    }

    /// What a list, tuple or set holds.
    pub fn elements(self) -> Option<impl ExactSizeIterator<Item = Self> + use<'a>> {
        let (Node::List(ids) | Node::Tuple(ids) | Node::Set(ids)) = self.node() else { return None };
        Some(ids.iter().map(move |&id| self.at(id)))
    }

    /// Keys and values of a dictionary, or names and values of an object's attributes.
    pub fn items(self) -> Option<impl ExactSizeIterator<Item = (Self, Self)> + use<'a>> {
        let attributes = if let Node::Record(record) = self.node() { self.at(record.fields?) } else { self };
        let Node::Dict(pairs) = attributes.node() else { return None };
        Some(pairs.iter().map(move |&(key, value)| (self.at(key), self.at(value))))
    }

    /// The value under a key, or the attribute of that name; the last one where a key was set twice.
    pub fn get(self, key: &str) -> Option<Self> {
        self.items()?.filter(|(found, _)| found.text() == Some(key)).last().map(|(_, value)| value)
    }

    /// What an object of a known class was called with, by position.
    pub fn argument(self, index: usize) -> Option<Self> {
        let Node::Record(record) = self.node() else { return None };
        self.at(record.arguments).elements()?.nth(index)
    }
}

impl Node {
    pub(super) fn noun(&self) -> String {
        let noun = match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Bytes => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Dict(_) => "a dictionary",
            Self::Class(class) => return format!("the class {}", class.name()),
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Record(record) => return format!("an object of {}", record.class),
        };
        noun.to_owned()
    }
}
