//! Texts to token ids, with lm-eval's conventions (`lm_eval/api/model.py`, `_encode_pair`; `models/huggingface.py`, `_loglikelihood_tokens`).

use std::rc::Rc;

use coppice_models::Config;
use coppice_models::tokenizer::Tokenizer;

/// A context and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// At least one token; pairs of one context share it.
    pub context: Rc<[i64]>,
    /// At least one token.
    pub continuation: Vec<i64>,
    /// Tokens cut off on the left because both together exceed the model's context.
    pub cut: usize,
}

/// A tokenizer, and what of the model matters to it.
#[derive(Debug)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    /// Stands before a text that has no context.
    begin: i64,
    /// The model's context, tokens.
    limit: usize,
}

impl<'a> Encoder<'a> {
    /// For a model. A text without context comes after the token that begins one, else after the one that ends one.
    ///
    /// # Errors
    /// When neither tokenizer nor configuration names such a token.
    pub fn new(tokenizer: &'a Tokenizer, config: &Config) -> Result<Self, String> {
        let own = tokenizer.bos_id().or(tokenizer.eos_id()).map(i64::from);
        let begin = own.or(config.bos_token_id).or(config.eos_token_ids.first().copied());
        let begin = begin.ok_or("neither tokenizer nor config.json names a token that begins or ends a text")?;
        Ok(Self { tokenizer, begin, limit: usize::try_from(config.max_position_embeddings).unwrap_or(usize::MAX) })
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// When the tokenizer refuses it.
    pub fn ids(&self, text: &str) -> Result<Vec<i64>, String> {
        let ids = self.tokenizer.encode(text).map_err(|error| error.to_string())?;
        Ok(ids.into_iter().map(i64::from).collect())
    }

    /// Context and continuations: blanks that end the context go to the continuation, whose tokens are those that the context's do not take up
    /// when both are encoded together. What exceeds the context by more than the last token, which is only predicted, is cut on the left.
    ///
    /// # Errors
    /// When the tokenizer refuses a text, or a continuation is empty or longer than the model's context.
    pub fn pairs(&self, context: &str, continuations: &[&str]) -> Result<Vec<Pair>, String> {
        let kept = context.trim_end_matches(char::is_whitespace);
        let blanks = &context[kept.len()..];
        let told: Rc<[i64]> = self.ids(kept)?.into();
        let pair = |continuation: &&str| {
            let (context, continuation) = if kept.is_empty() {
                self.alone(&format!("{blanks}{continuation}"))?
            } else {
                let whole = self.ids(&format!("{kept}{blanks}{continuation}"))?;
                (Rc::clone(&told), whole.get(told.len()..).unwrap_or_default().to_vec())
            };
            self.fitted(context, continuation)
        };
        continuations.iter().map(pair).collect()
    }

    /// A text without context.
    fn alone(&self, text: &str) -> Result<(Rc<[i64]>, Vec<i64>), String> {
        let mut ids = self.ids(text)?;
        if ids.first() == Some(&self.begin) {
            let rest = ids.split_off(1);
            return Ok((ids.into(), rest));
        }
        Ok(([self.begin].into(), ids))
    }

    fn fitted(&self, context: Rc<[i64]>, continuation: Vec<i64>) -> Result<Pair, String> {
        if continuation.is_empty() {
            return Err("a continuation has no token of its own".into());
        }
        if continuation.len() > self.limit {
            return Err(format!("a continuation has {} tokens, the model's context holds {}", continuation.len(), self.limit));
        }
        let cut = (context.len() + continuation.len()).saturating_sub(self.limit + 1);
        let context = if cut > 0 { context[cut..].into() } else { context };
        Ok(Pair { context, continuation, cut })
    }

    /// A prompt to be continued by up to `new` tokens: its ids, and how many were cut off on the left to leave room for those.
    ///
    /// # Errors
    /// When the tokenizer refuses it or makes no token of it, or there is no room for any of it.
    pub fn prompt(&self, context: &str, new: usize) -> Result<(Vec<i64>, usize), String> {
        let mut ids = self.ids(context)?;
        let room = self.limit.saturating_sub(new);
        if room == 0 || ids.is_empty() {
            let told = format!("answers of {new} tokens leave no room for a prompt in the model's context of {}", self.limit);
            return Err(if room == 0 { told } else { "the prompt has no token".into() });
        }
        let cut = ids.len().saturating_sub(room);
        ids.drain(..cut);
        Ok((ids, cut))
    }

    /// A document in windows: each predicts as many tokens as the context holds, the first after the token that begins a text, the others after
    /// the last token before them; the last window is filled up on the left (`lm_eval/utils.py`, `get_rolling_token_windows`).
    ///
    /// # Errors
    /// When the tokenizer refuses the text or makes no token of it.
    pub fn windows(&self, text: &str) -> Result<Vec<Pair>, String> {
        let ids = self.ids(text)?;
        if ids.is_empty() {
            return Err("the document has no token".into());
        }
        let starts = (0..ids.len()).step_by(self.limit);
        Ok(starts.map(|start| self.window(&ids, start)).collect())
    }

    fn window(&self, ids: &[i64], start: usize) -> Pair {
        let end = (start + self.limit).min(ids.len());
        let first = (end.saturating_sub(self.limit + 1)).min(start.saturating_sub(1));
        let context: &[i64] = if start == 0 { &[self.begin] } else { &ids[first..start] };
        Pair { context: context.into(), continuation: ids[start..end].to_vec(), cut: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(count: i64, limit: usize) -> Vec<(Vec<i64>, Vec<i64>)> {
        let tokenizer = byte_tokenizer();
        let encoder = Encoder { tokenizer: &tokenizer, begin: 99, limit };
        let ids: Vec<i64> = (0..count).collect();
        (0..ids.len())
            .step_by(limit)
            .map(|start| encoder.window(&ids, start))
            .map(|pair| (pair.context.to_vec(), pair.continuation))
            .collect()
    }

    fn byte_tokenizer() -> Tokenizer {
        let vocabulary: Vec<String> = (0..4).map(|id| format!("\"{}\":{id}", ['a', 'b', 'c', 'Ġ'][id])).collect();
        let text = format!(
            r#"{{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
            "use_regex":true}},"post_processor":null,"decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},
            "model":{{"type":"BPE","vocab":{{{}}},"merges":[]}}}}"#,
            vocabulary.join(",")
        );
        Tokenizer::from_bytes(text.as_bytes()).expect("a tokenizer")
    }

    /// `[make_disjoint_window(w) for w in get_rolling_token_windows(list(range(count)), 99, limit, 1)]` of lm-eval 0.4.13.
    #[test]
    fn windows_are_those_of_lm_eval() {
        assert_eq!(windows(3, 4), [(vec![99], vec![0, 1, 2])]);
        assert_eq!(windows(4, 4), [(vec![99], vec![0, 1, 2, 3])]);
        assert_eq!(windows(10, 4), [(vec![99], vec![0, 1, 2, 3]), (vec![3], vec![4, 5, 6, 7]), (vec![5, 6, 7], vec![8, 9])]);
    }

    #[test]
    fn blanks_go_to_the_continuation_and_the_left_is_cut() {
        let tokenizer = byte_tokenizer();
        let encoder = Encoder { tokenizer: &tokenizer, begin: 0, limit: 4 };
        let pair = |context: &str, continuation: &str| encoder.pairs(context, &[continuation]).map(|mut pairs| pairs.remove(0));
        assert_eq!(pair("ab ", "c"), Ok(Pair { context: [0, 1].into(), continuation: vec![3, 2], cut: 0 }));
        assert_eq!(pair("abcabc", "ca"), Ok(Pair { context: [0, 1, 2].into(), continuation: vec![2, 0], cut: 3 }));
        assert_eq!(pair("", "bc"), Ok(Pair { context: [0].into(), continuation: vec![1, 2], cut: 0 }));
        assert_eq!(pair("", "ab"), Ok(Pair { context: [0].into(), continuation: vec![1], cut: 0 }));
        assert!(pair("a", "").expect_err("nothing").contains("no token") && pair("a", "bbbbb").expect_err("long").contains("5 tokens"));
    }
}
