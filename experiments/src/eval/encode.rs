//! Text as the tokens a model is told: a context and what follows it are encoded together and parted afterwards, as lm-evaluation-harness does,
//! and what is too long loses its beginning.

use anyhow::{Context, Result, anyhow};
use coppice_models::continuation::Row;
use coppice_models::tokenizer::Tokenizer;

/// Encodes for one model.
pub struct Encoder<'a> {
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The id that begins a text, where nothing else does.
    pub begin: i64,
    /// Tokens its context holds.
    pub limit: usize,
}

/// A context with what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// All tokens, with the continuation last.
    pub row: Row,
    /// Tokens cut off from the beginning.
    pub cut: usize,
}

impl Encoder<'_> {
    fn ids(&self, text: &str) -> Result<Vec<i64>> {
        Ok(self.tokenizer.encode(text)?.into_iter().map(i64::from).collect())
    }

    /// The tokens of a pair. Blanks at the end of the context go to the continuation. The model reads all but the last token, so that many fit.
    ///
    /// # Errors
    /// When the continuation has no token of its own or is longer than the context.
    pub fn pair(&self, context: &str, continuation: &str) -> Result<Pair> {
        let kept = context.trim_end();
        let (context, continuation) = (kept, format!("{}{continuation}", &context[kept.len()..]));
        if context.is_empty() {
            let follows = self.ids(&continuation)?;
            return self.cut([vec![self.begin], follows.clone()].concat(), follows.len());
        }
        let (whole, told) = (self.ids(&format!("{context}{continuation}"))?, self.ids(context)?);
        let scored = whole.len().saturating_sub(told.len());
        self.cut(whole, scored)
    }

    fn cut(&self, tokens: Vec<i64>, scored: usize) -> Result<Pair> {
        if scored == 0 || scored > self.limit {
            return Err(anyhow!("a continuation of {scored} tokens; expected 1 to {}, what this model's context holds", self.limit));
        }
        let cut = tokens.len().saturating_sub(self.limit + 1);
        Ok(Pair { row: Row { tokens: tokens[cut..].to_vec(), scored }, cut })
    }

    /// A document in windows that each score what the ones before have not: all are as long as the context, the last one looks back.
    ///
    /// # Errors
    /// When the document has no token.
    pub fn windows(&self, text: &str) -> Result<Vec<Row>> {
        let tokens = [vec![self.begin], self.ids(text)?].concat();
        let end = tokens.len();
        let starts = (1..end).step_by(self.limit);
        let window = |from: usize| {
            let to = (from + self.limit).min(end);
            Row { tokens: tokens[to.saturating_sub(self.limit + 1)..to].to_vec(), scored: to - from }
        };
        let rows: Vec<Row> = starts.map(window).collect();
        if rows.is_empty() { Err(anyhow!("the document has no token")) } else { Ok(rows) }
    }

    /// A prompt that leaves room for an answer, and how many tokens were cut off from its beginning.
    ///
    /// # Errors
    /// When there is no room.
    pub fn prompt(&self, text: &str, answer: usize) -> Result<(Vec<i64>, usize)> {
        let room = self.limit.checked_sub(answer).filter(|&room| room > 0);
        let room = room.with_context(|| format!("an answer of {answer} tokens does not fit this model's context of {}", self.limit))?;
        let ids = self.ids(text)?;
        let cut = ids.len().saturating_sub(room);
        Ok((if ids.is_empty() { vec![self.begin] } else { ids[cut..].to_vec() }, cut))
    }
}

/// How many tokens all rows begin with alike, at least one of each context left out; rows that were cut are not looked at.
pub fn shared(pairs: &[&Pair]) -> usize {
    let whole: Vec<&Row> = pairs.iter().filter(|pair| pair.cut == 0).map(|pair| &pair.row).collect();
    let Some((first, others)) = whole.split_first() else { return 0 };
    let context = |row: &Row| row.tokens.len() - row.scored - 1;
    let alike = |row: &&Row| row.tokens.iter().zip(&first.tokens).take_while(|(a, b)| a == b).count().min(context(row));
    others.iter().map(alike).min().unwrap_or(0).min(context(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(tokens: &[i64], scored: usize, cut: usize) -> Pair {
        Pair { row: Row { tokens: tokens.to_vec(), scored }, cut }
    }

    #[test]
    fn a_context_keeps_one_token_beside_what_is_shared() {
        let (a, b) = (pair(&[1, 2, 3, 4], 1, 0), pair(&[1, 2, 3, 5], 1, 0));
        assert_eq!(shared(&[&a, &b]), 2);
        assert_eq!(shared(&[&a, &pair(&[9, 9, 9], 1, 4)]), 2, "a row that was cut stands apart");
        assert_eq!(shared(&[&a, &pair(&[1, 7, 8], 1, 0)]), 1);
        assert_eq!(shared(&[]), 0);
    }
}
