//! The stack machine: one instruction after the other, until the program stops or does what it must not.
//!
//! Protocols 2 to 5 as CPython's pickler and torch.save write them. Text instructions of protocols 0 and 1, extension codes, and the
//! instructions that make objects of classes named in passing (INST, OBJ, NEWOBJ_EX) are refused.

use super::calls::{Made, call, record, storage};
use super::error::{Fault, Outcome, fault};
use super::globals::Class;
use super::input::Input;
use super::stack::{Stack, pairs};
use super::value::{Document, Id, Node};

/// A program under way.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    input: Input<'a>,
    stack: Stack,
}

/// Runs a program to its end.
///
/// # Errors
/// What stopped it, and the byte after which it did.
pub(super) fn run(program: &[u8]) -> Result<Document, (Fault, usize)> {
    let mut machine = Machine { input: Input::new(program), stack: Stack::default() };
    loop {
        let at = machine.input.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(Document { nodes: machine.stack.nodes, root }),
            Err(fault) => return Err((fault, at)),
        }
    }
}

impl Machine<'_> {
    /// One instruction; the program's result where it is the last.
    fn step(&mut self) -> Outcome<Option<Id>> {
        let opcode = self.input.byte()?;
        if opcode == b'.' {
            return self.stop().map(Some);
        }
        if let Some(node) = self.literal(opcode)? {
            self.stack.push(node)?;
        } else if !self.rearranges(opcode)? && !self.builds(opcode)? && !self.names(opcode)? {
            return fault(format!("instruction 0x{opcode:02x}, which no file of torch.save holds"));
        }
        Ok(None)
    }

    /// Values that stand in the program itself.
    fn literal(&mut self, opcode: u8) -> Outcome<Option<Node>> {
        let input = &mut self.input;
        Ok(Some(match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'J' => Node::Int(input.i32()?.into()),
            b'K' => Node::Int(input.byte()?.into()),
            b'M' => Node::Int(input.u16()?.into()),
            0x8a => length(input.byte()?).and_then(|count| input.long(count)).map(Node::Int)?,
            0x8b => length(input.u32()?).and_then(|count| input.long(count)).map(Node::Int)?,
            b'G' => Node::Float(input.f64()?),
            b'X' => length(input.u32()?).and_then(|count| input.text(count)).map(|text| Node::Text(text.into()))?,
            0x8c => length(input.byte()?).and_then(|count| input.text(count)).map(|text| Node::Text(text.into()))?,
            0x8d => length(input.u64()?).and_then(|count| input.text(count)).map(|text| Node::Text(text.into()))?,
            b'B' => length(input.u32()?).and_then(|count| input.take(count)).map(|_| Node::Bytes)?,
            b'C' => length(input.byte()?).and_then(|count| input.take(count)).map(|_| Node::Bytes)?,
            0x8e => length(input.u64()?).and_then(|count| input.take(count)).map(|_| Node::Bytes)?,
            b')' => Node::Tuple(Vec::new()),
            b']' => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            _ => return Ok(None),
        }))
    }

    /// Stack, memo and framing; false where the instruction is none of these.
    fn rearranges(&mut self, opcode: u8) -> Outcome<bool> {
        match opcode {
            0x80 => self.protocol()?,
            0x95 => drop(self.input.u64()?), // a frame's length, a hint for reading ahead
            b'(' => self.stack.mark(),
            b'0' => drop(self.stack.pop()?),
            b'1' => drop(self.stack.pop_mark()?),
            b'2' => self.stack.top().map(|id| self.stack.repeat(id))?,
            b'q' => self.input.byte().map(u32::from).and_then(|place| self.stack.memorise(place))?,
            b'r' => self.input.u32().and_then(|place| self.stack.memorise(place))?,
            0x94 => self.stack.memorise_next()?,
            b'h' => self.input.byte().map(u32::from).and_then(|place| self.stack.recall(place))?,
            b'j' => self.input.u32().and_then(|place| self.stack.recall(place))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Containers from what lies on the stack; false where the instruction is none of these.
    fn builds(&mut self, opcode: u8) -> Outcome<bool> {
        match opcode {
            b't' => self.stack.pop_mark().and_then(|ids| self.stack.push(Node::Tuple(ids)))?,
            b'l' => self.stack.pop_mark().and_then(|ids| self.stack.push(Node::List(ids)))?,
            b'd' => self.stack.pop_mark().and_then(pairs).and_then(|pairs| self.stack.push(Node::Dict(pairs)))?,
            0x91 => self.stack.pop_mark().and_then(|ids| self.stack.push(Node::Set(ids)))?,
            0x85..=0x87 => self.stack.pop_many(usize::from(opcode - 0x84)).and_then(|ids| self.stack.push(Node::Tuple(ids)))?,
            b'a' => self.stack.pop_many(1).and_then(|ids| self.stack.extend(ids))?,
            b'e' | 0x90 => self.stack.pop_mark().and_then(|ids| self.stack.extend(ids))?,
            b's' => self.stack.pop_many(2).and_then(|ids| self.stack.extend(ids))?,
            b'u' => self.stack.pop_mark().and_then(|ids| self.stack.extend(ids))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Classes, and what is made of them; false where the instruction is none of these.
    fn names(&mut self, opcode: u8) -> Outcome<bool> {
        match opcode {
            b'c' => self.global()?,
            0x93 => self.stack_global()?,
            b'i' => self.global().and_then(|()| fault("instruction INST, which makes an object in passing"))?,
            b'Q' => self.stack.pop().and_then(|id| storage(&self.stack.nodes, id)).and_then(|node| self.stack.push(node))?,
            b'R' => self.reduce()?,
            0x81 => self.new_object()?,
            b'b' => self.stack.set_state()?,
            0x82..=0x84 => fault("an extension code, which stands for a class that is not named")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn protocol(&mut self) -> Outcome<()> {
        match self.input.byte()? {
            2..=5 => Ok(()),
            other => fault(format!("pickle protocol {other}, expected 2 to 5")),
        }
    }

    fn stop(&mut self) -> Outcome<Id> {
        let (root, left, over) = (self.stack.pop()?, self.stack.unused(), self.input.left());
        if left > 0 || over > 0 {
            return fault(format!("it stops with {left} values unused and {over} bytes unread"));
        }
        Ok(root)
    }

    fn global(&mut self) -> Outcome<()> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        self.push_class(module, name)
    }

    fn stack_global(&mut self) -> Outcome<()> {
        let ids = self.stack.pop_many(2)?;
        let (Node::Text(module), Node::Text(name)) = (self.stack.node(ids[0]), self.stack.node(ids[1])) else {
            return fault("a class whose module or name is not a string");
        };
        let (module, name) = (module.to_string(), name.to_string());
        self.push_class(&module, &name)
    }

    fn push_class(&mut self, module: &str, name: &str) -> Outcome<()> {
        let class = Class::find(module, name).ok_or_else(|| Fault::Class(format!("{module}.{name}").escape_debug().take(200).collect()))?;
        self.stack.push(Node::Class(class))
    }

    fn reduce(&mut self) -> Outcome<()> {
        let (class, arguments) = self.pop_call()?;
        match call(&self.stack.nodes, class, arguments)? {
            Made::New(node) => self.stack.push(node),
            Made::Old(id) => {
                self.stack.repeat(id);
                Ok(())
            }
        }
    }

    fn new_object(&mut self) -> Outcome<()> {
        match self.pop_call()? {
            (Class::Record(class), arguments) => self.stack.push(record(class, arguments)),
            (class, _) => fault(format!("it makes an object of {} in a way torch does not", class.name())),
        }
    }

    /// A class and the tuple of its arguments, from the top of the stack.
    fn pop_call(&mut self) -> Outcome<(Class, Id)> {
        let ids = self.stack.pop_many(2)?;
        match (self.stack.node(ids[0]), self.stack.node(ids[1])) {
            (Node::Class(class), Node::Tuple(_)) => Ok((*class, ids[1])),
            (called, given) => fault(format!("it calls {} with {}", called.noun(), given.noun())),
        }
    }
}

/// Lengths come in every width.
fn length(count: impl Into<u64>) -> Outcome<u64> {
    Ok(count.into())
}
