//! Answers that the model writes by itself, the most probable token throughout; prompts of like length side by side.

use anyhow::Result;
use coppice_models::Model;
use coppice_models::generate::{Options, generate};
use coppice_models::sampling::Sampling;
use coppice_models::tokenizer::Tokenizer;

/// Tokens of prompts and answers that are held at once, padding included.
const TOKENS: usize = 1 << 13;
/// Most prompts at once.
const PROMPTS: usize = 16;

/// A prompt and what ends its answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The prompt's ids.
    pub ids: Vec<i64>,
    /// Texts that end the answer and are left out of it.
    pub until: Vec<String>,
}

/// A model that answers.
#[derive(Debug)]
pub struct Writer<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Ids that end an answer.
    pub stop_ids: &'a [i64],
    /// Longest answer, tokens.
    pub max_new_tokens: usize,
}

impl Writer<'_> {
    /// Answers all prompts; `done` is told the number and the answer of every prompt of a batch as soon as they are there.
    ///
    /// # Errors
    /// When the model fails, or `done` does.
    pub fn answers(&self, asked: &[Asked], mut done: impl FnMut(Vec<(usize, String)>) -> Result<()>) -> Result<()> {
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by_key(|&prompt| (asked[prompt].until.clone(), std::cmp::Reverse(asked[prompt].ids.len())));
        let mut left = order.as_slice();
        while let Some(&first) = left.first() {
            let longest = asked[first].ids.len() + self.max_new_tokens;
            let alike = left.iter().take_while(|&&prompt| asked[prompt].until == asked[first].until).count();
            let (some, others) = left.split_at((TOKENS / longest).clamp(1, PROMPTS).min(alike));
            let prompts: Vec<Vec<i64>> = some.iter().map(|&prompt| asked[prompt].ids.clone()).collect();
            done(some.iter().copied().zip(self.batch(&prompts, &asked[first].until)?).collect())?;
            left = others;
        }
        Ok(())
    }

    fn batch(&self, prompts: &[Vec<i64>], until: &[String]) -> Result<Vec<String>> {
        let tokenizer = self.tokenizer; // the model is not for other threads
        let ends = |text: &String| until.iter().any(|stop| !stop.is_empty() && text.contains(stop.as_str()));
        let stop = |tokens: &[i64]| decoded(tokenizer, tokens).is_ok_and(|text| ends(&text));
        let options = Options {
            max_new_tokens: self.max_new_tokens,
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            stop_ids: self.stop_ids.to_vec(),
            stop_when: if until.is_empty() { None } else { Some(&stop) },
            ..Options::default()
        };
        let traces = generate(self.model, prompts, &options)?;
        traces.iter().flatten().map(|trace| Ok(cut(&decoded(tokenizer, &trace.tokens)?, until).to_owned())).collect()
    }
}

fn decoded(tokenizer: &Tokenizer, tokens: &[i64]) -> Result<String> {
    let ids: Vec<u32> = tokens.iter().map(|&id| u32::try_from(id)).collect::<Result<_, _>>()?;
    Ok(tokenizer.decode(&ids)?)
}

/// A text up to the first of some others.
fn cut<'t>(text: &'t str, until: &[String]) -> &'t str {
    until.iter().filter(|stop| !stop.is_empty()).fold(text, |text, stop| text.split(stop.as_str()).next().unwrap_or_default())
}
