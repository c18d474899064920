//! The program's bytes, read in order and never beyond their end.

use super::error::{Outcome, fault};

/// What is left of a program.
#[derive(Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// Bytes read.
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not yet read.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: u64) -> Outcome<&'a [u8]> {
        let Some(count) = usize::try_from(count).ok().filter(|&count| count <= self.left()) else {
            return fault(format!("it ends {} bytes on, where {count} are announced", self.left()));
        };
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Outcome<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Outcome<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Outcome<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Outcome<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Outcome<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// Floats are the one thing pickles write with the high byte first.
    pub(super) fn f64(&mut self) -> Outcome<f64> {
        self.array().map(f64::from_be_bytes)
    }

    /// A whole number of `count` bytes in two's complement, which must fit into 64 bits.
    pub(super) fn long(&mut self, count: u64) -> Outcome<i64> {
        let bytes = self.take(count)?;
        let Some(last) = bytes.last() else { return Ok(0) };
        if bytes.len() > 8 {
            return fault(format!("a whole number of {} bytes, where 8 are enough for every size and step", bytes.len()));
        }
        let mut wide = if last & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
    }

    pub(super) fn text(&mut self, count: u64) -> Outcome<&'a str> {
        std::str::from_utf8(self.take(count)?).or_else(|_| fault("text that is not UTF-8"))
    }

    /// Text up to the end of the line, which is read too.
    pub(super) fn line(&mut self) -> Outcome<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return fault("a name without an end") };
        let line = self.text(end as u64)?;
        self.at += 1;
        Ok(line)
    }
}
