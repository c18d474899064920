//! Text that grows token by token: whole characters as soon as they are whole, and stop strings across token borders.

use super::{Tokenizer, TokenizerError, library};

/// Text as it becomes whole, id by id.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Byte-level: the bytes of a character not yet complete.
    pending: Vec<u8>,
    /// Other tokenizers: all ids so far, and how many bytes of their text were given out.
    ids: Vec<u32>,
    given: usize,
}

impl<'a> TextStream<'a> {
    /// An empty stream.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, pending: Vec::new(), ids: Vec::new(), given: 0 }
    }

    /// The text that became whole with this id; empty while a character is incomplete or where the id has no token.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] if the decoder refuses.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        if self.tokenizer.byte_level {
            self.pending.extend(self.tokenizer.bytes(id).unwrap_or_default());
            return Ok(take_whole(&mut self.pending));
        }
        self.ids.push(id);
        let text = self.tokenizer.inner.decode(&self.ids, false).map_err(library)?;
        let new = text.get(self.given..).filter(|new| !new.ends_with('\u{FFFD}')).unwrap_or_default().to_owned();
        self.given += new.len();
        Ok(new)
    }

    /// What is left of an incomplete character, as U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Takes the whole characters off the front; bytes that cannot begin or go on become U+FFFD.
fn take_whole(pending: &mut Vec<u8>) -> String {
    let chunks = pending.utf8_chunks().collect::<Vec<_>>();
    let tail = chunks.last().map_or(&[][..], |chunk| chunk.invalid());
    let incomplete = if std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none()) { tail.len() } else { 0 };
    let rest = pending.split_off(pending.len() - incomplete);
    let whole = String::from_utf8_lossy(pending).into_owned();
    *pending = rest;
    whole
}

/// Where a text must end for stop strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The text up to this byte is the answer: a stop string begins here.
    At(usize),
    /// The text up to this byte can be shown; what follows may be the beginning of a stop string.
    NotBefore(usize),
}

/// Looks for the earliest stop string in a text that is still growing, tokens joined. Empty stop strings are passed over.
pub fn find_stop(text: &str, stops: &[String]) -> Stop {
    let stops = || stops.iter().filter(|stop| !stop.is_empty());
    if let Some(at) = stops().filter_map(|stop| text.find(stop.as_str())).min() {
        return Stop::At(at);
    }
    let begins = |&at: &usize| stops().any(|stop| stop.starts_with(&text[at..]));
    Stop::NotBefore(text.char_indices().map(|(at, _)| at).find(begins).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_out_when_they_are_whole() {
        let mut pending = vec![b'a', 0xE2, 0x82];
        assert_eq!((take_whole(&mut pending).as_str(), pending.as_slice()), ("a", &[0xE2, 0x82][..]));
        pending.push(0xAC);
        assert_eq!((take_whole(&mut pending).as_str(), pending.len()), ("€", 0));
        pending.extend([0xFF, b'b', 0xC3]);
        assert_eq!((take_whole(&mut pending).as_str(), pending.as_slice()), ("\u{FFFD}b", &[0xC3][..]));
    }

    #[test]
    fn a_stop_string_is_found_across_borders_and_its_beginning_held_back() {
        let stops = ["\n\nQ:".to_owned(), String::new(), "END".to_owned()];
        assert_eq!(find_stop("answer\n", &stops), Stop::NotBefore(6));
        assert_eq!(find_stop("answer\n\nQ", &stops), Stop::NotBefore(6));
        assert_eq!(find_stop("answer\n\nX", &stops), Stop::NotBefore(9));
        assert_eq!(find_stop("é END \n\nQ:", &stops), Stop::At(3));
        assert_eq!(find_stop("text", &[]), Stop::NotBefore(4));
    }
}
