//! What comes of the calls a program may make. Each takes the arguments that torch or Python writes, and no others.

use super::error::{Fault, Outcome, fault};
use super::globals::Class;
use super::tensor::{MOST_DIMENSIONS, Storage, StoredTensor};
use super::value::{Id, Node, Record};

/// What a call gives: a new value, or one that is there already.
pub(super) enum Made {
    New(Node),
    Old(Id),
}

/// Calls a class or function with a tuple of arguments.
pub(super) fn call(nodes: &[Node], class: Class, tuple: Id) -> Outcome<Made> {
    let arguments = elements(node(nodes, tuple)).unwrap_or_default();
    let made = match (class, arguments) {
        (Class::Record(class), _) => Some(Made::New(record(class, tuple))),
        (Class::OrderedDict, []) => Some(Made::New(Node::Dict(Vec::new()))),
        (Class::Set | Class::Size, &[items]) => elements(node(nodes, items)).map(|_| Made::Old(items)),
        (Class::Encode, &[text, encoding]) => encoded(node(nodes, text), node(nodes, encoding)).map(Made::New),
        (Class::RebuildTensor, _) => rebuilt(nodes, arguments)?.map(Made::New),
        (Class::RebuildParameter, &[tensor, _, _] | &[tensor, _, _, _]) => old_tensor(nodes, tensor),
        (Class::RebuildFromType, &[function, class, passed, _]) => typed(nodes, function, class, passed)?,
        _ => None,
    };
    made.ok_or_else(|| refusal(nodes, class, arguments))
}

/// The object of a known class that is made from a tuple of arguments.
pub(super) fn record(class: &'static str, arguments: Id) -> Node {
    Node::Record(Record { class, arguments, fields: None })
}

/// What a persistent id stands for: `('storage', class, key, device, number of elements)`.
pub(super) fn storage(nodes: &[Node], id: Id) -> Outcome<Node> {
    let Node::Tuple(parts) = node(nodes, id) else { return fault(format!("{} as a persistent id", node(nodes, id).noun())) };
    let parts: Vec<&Node> = parts.iter().map(|&id| node(nodes, id)).collect();
    let &[Node::Text(tag), Node::Class(Class::Storage(kind)), Node::Text(key), Node::Text(_), Node::Int(numel)] = parts.as_slice() else {
        return fault("a persistent id that is not ('storage', class, key, device, number)");
    };
    let plain = (1..=20).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_digit());
    let (true, true, Ok(numel)) = (&**tag == "storage", plain, usize::try_from(*numel)) else {
        return fault("a persistent id of no storage, whose key is a number and whose size is one too");
    };
    Ok(Node::Storage(Storage { key: key.to_string(), kind: *kind, numel }))
}

fn node(nodes: &[Node], id: Id) -> &Node {
    &nodes[id.0 as usize]
}

fn elements(node: &Node) -> Option<&[Id]> {
    if let Node::List(ids) | Node::Tuple(ids) = node { Some(ids) } else { None }
}

/// Bytes that protocol 2 writes as text of as many characters.
fn encoded(text: &Node, encoding: &Node) -> Option<Node> {
    let (Node::Text(_), Node::Text(encoding)) = (text, encoding) else { return None };
    (&**encoding == "latin1").then_some(Node::Bytes)
}

/// The tensor of `(storage, offset, size, stride, requires_grad, hooks[, metadata])`; none where the arguments are others.
fn rebuilt(nodes: &[Node], arguments: &[Id]) -> Outcome<Option<Node>> {
    let given: Vec<&Node> = arguments.iter().take(8).map(|&id| node(nodes, id)).collect();
    let (&[Node::Storage(storage), Node::Int(offset), size, stride, Node::Bool(_), Node::Dict(hooks)]
    | &[Node::Storage(storage), Node::Int(offset), size, stride, Node::Bool(_), Node::Dict(hooks), _]) = given.as_slice()
    else {
        return Ok(None);
    };
    let (Some(size), Some(stride), true) = (integers(nodes, size), integers(nodes, stride), hooks.is_empty()) else { return Ok(None) };
    let tensor = StoredTensor::new(storage.clone(), *offset, size, stride)?;
    Ok(Some(Node::Tensor(Box::new(tensor))))
}

/// A tuple of as many whole numbers as a tensor may have dimensions, or one more, which is too many.
fn integers(nodes: &[Node], tuple: &Node) -> Option<Vec<i64>> {
    let Node::Tuple(ids) = tuple else { return None };
    let number = |&id: &Id| if let Node::Int(number) = node(nodes, id) { Some(*number) } else { None };
    ids.iter().take(MOST_DIMENSIONS + 1).map(number).collect()
}

fn old_tensor(nodes: &[Node], id: Id) -> Option<Made> {
    matches!(node(nodes, id), Node::Tensor(_)).then_some(Made::Old(id))
}

/// `(function, type, arguments, attributes)`: a tensor that carries attributes, which are left out.
fn typed(nodes: &[Node], function: Id, class: Id, passed: Id) -> Outcome<Option<Made>> {
    match (node(nodes, function), node(nodes, class), node(nodes, passed)) {
        (&Node::Class(function @ (Class::RebuildTensor | Class::RebuildParameter)), Node::Class(Class::Inert(_)), Node::Tuple(_)) => {
            call(nodes, function, passed).map(Some)
        }
        _ => Ok(None),
    }
}

fn refusal(nodes: &[Node], class: Class, arguments: &[Id]) -> Fault {
    let told: Vec<String> = arguments.iter().take(8).map(|&id| node(nodes, id).noun()).collect();
    Fault::Program(format!("it calls {} with ({}), which is not how torch writes it", class.name(), told.join(", ")))
}
