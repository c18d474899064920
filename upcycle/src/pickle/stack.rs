//! What the machine works on: all values, the stack with its marks, and the memo.
//!
//! Values are pushed once and then only referred to, so that a program of `n` bytes takes memory in the order of `n`, however it refers to
//! what it made.

use std::collections::HashMap;

use super::error::{Fault, Outcome, fault};
use super::value::{Id, Node};

/// More values than the state of any model this crate trains has.
pub(super) const MOST_VALUES: usize = 1 << 20;

/// Values, stack and memo.
#[derive(Debug, Default)]
pub(super) struct Stack {
    pub(super) nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>, // heights of the stack
    memo: HashMap<u32, Id>,
}

impl Stack {
    /// Gives an object of a known class its attributes.
    pub(super) fn set_state(&mut self) -> Outcome<()> {
        let (state, target) = (self.pop()?, self.top()?);
        if !matches!(self.node(state), Node::Dict(_)) {
            return fault(format!("{} as the attributes of an object", self.node(state).noun()));
        }
        match &mut self.nodes[target.0 as usize] {
            Node::Record(record) => record.fields = Some(state),
            other => return fault(format!("it sets attributes of {}", other.noun())),
        }
        Ok(())
    }

    /// Adds what was popped to the container that is now on top.
    pub(super) fn extend(&mut self, ids: Vec<Id>) -> Outcome<()> {
        let target = self.top()?;
        match &mut self.nodes[target.0 as usize] {
            Node::List(items) | Node::Set(items) => items.extend(ids),
            Node::Dict(items) => items.extend(pairs(ids)?),
            other => return fault(format!("it adds items to {}", other.noun())),
        }
        Ok(())
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Sets a mark.
    pub(super) fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    /// Values and marks on the stack.
    pub(super) fn unused(&self) -> usize {
        self.stack.len() + self.marks.len()
    }

    /// Puts a value on the stack that is there already.
    pub(super) fn repeat(&mut self, id: Id) {
        self.stack.push(id);
    }

    pub(super) fn push(&mut self, node: Node) -> Outcome<()> {
        if self.nodes.len() >= MOST_VALUES {
            return fault(format!("more than {MOST_VALUES} values"));
        }
        self.stack.push(Id(self.nodes.len() as u32));
        self.nodes.push(node);
        Ok(())
    }

    /// The stack above the last mark is all an instruction may take from.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self) -> Outcome<Id> {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor());
        top.copied().ok_or_else(|| Fault::Program("it takes a value from an empty stack".into()))
    }

    pub(super) fn pop(&mut self) -> Outcome<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Outcome<Vec<Id>> {
        let height = self.stack.len();
        if height - self.floor() < count {
            return fault("it takes a value from an empty stack");
        }
        Ok(self.stack.split_off(height - count))
    }

    pub(super) fn pop_mark(&mut self) -> Outcome<Vec<Id>> {
        let Some(mark) = self.marks.pop() else { return fault("it goes back to a mark that was not set") };
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn memorise(&mut self, place: u32) -> Outcome<()> {
        self.memo.insert(place, self.top()?);
        Ok(())
    }

    /// Memorises under the number of values memorised so far.
    pub(super) fn memorise_next(&mut self) -> Outcome<()> {
        self.memorise(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn recall(&mut self, place: u32) -> Outcome<()> {
        let Some(&id) = self.memo.get(&place) else { return fault(format!("it recalls value {place}, which was not memorised")) };
        self.stack.push(id);
        Ok(())
    }
}

/// Keys and values that lie in turns.
pub(super) fn pairs(ids: Vec<Id>) -> Outcome<Vec<(Id, Id)>> {
    if ids.len() % 2 == 1 {
        return fault("a key without a value");
    }
    Ok(ids.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}
