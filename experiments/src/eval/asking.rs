//! Putting items to a model: those that begin alike share what they begin with, those of similar length run side by side.

use anyhow::Result;
use coppice_models::Model;
use coppice_models::continuation::{Begun, Continued, Row};
use coppice_models::generate::{Options, generate};
use rayon::prelude::*;

use super::encode::{Encoder, Pair, shared};
use super::item::{Item, Question};
use super::metric::Outcome;
use super::task::Ask;

/// Items between two entries in the journal.
const AT_A_TIME: usize = 32;
/// Prompts that are answered side by side.
const PROMPTS: usize = 8;

/// A model, and what it is told in.
pub struct Asking<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer and limits.
    pub encoder: Encoder<'a>,
    /// Ids that end what it writes.
    pub stop_ids: Vec<i64>,
    /// Ids it never writes.
    pub banned_ids: Vec<i64>,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The item's place among those that were put.
    pub item: usize,
    /// The outcome, or why there is none.
    pub outcome: Result<Outcome, String>,
    /// Tokens cut off from the beginning of its longest text.
    pub cut: usize,
}

/// The texts of an item as tokens.
struct Encoded {
    item: usize,
    pairs: Vec<Pair>,
    cut: usize,
}

impl Asking<'_> {
    /// Asks all items, which begin alike where they do; hands over some at a time, the longest first.
    ///
    /// # Errors
    /// When the model fails, and those of `done`, which end the work.
    pub fn ask(&self, ask: &Ask, items: &[&Item], mut done: impl FnMut(Vec<Asked>) -> Result<()>) -> Result<()> {
        if let Ask::Generation { until, max_new_tokens, .. } = ask {
            return self.answers(items, until, *max_new_tokens, done);
        }
        let encoder = &self.encoder;
        let encode = |(place, item): (usize, &&Item)| encode(encoder, place, item).map_err(|error| failed(place, &format!("{error:#}")));
        let encoded: Vec<Result<Encoded, Asked>> = items.par_iter().enumerate().map(encode).collect();
        let (mut whole, mut bad) = (Vec::new(), Vec::new());
        encoded.into_iter().for_each(|encoded| match encoded {
            Ok(encoded) => whole.push(encoded),
            Err(asked) => bad.push(asked),
        });
        done(bad)?;
        whole.sort_by_key(|encoded| std::cmp::Reverse(encoded.pairs.iter().map(|pair| pair.row.tokens.len()).max()));
        let prefix = prefix(&whole);
        let begun = (Begun::new(self.model, &prefix)?, Begun::new(self.model, &[])?);
        for some in whole.chunks(AT_A_TIME) {
            done(outcomes(&begun, prefix.len(), some, items)?)?;
        }
        Ok(())
    }

    fn answers(&self, items: &[&Item], until: &[String], longest: usize, mut done: impl FnMut(Vec<Asked>) -> Result<()>) -> Result<()> {
        let prompt = |item: &&Item| match &item.question {
            Question::Prompt { context, .. } => self.encoder.prompt(context, longest),
            _ => Ok((Vec::new(), 0)),
        };
        let prompts = items.iter().map(prompt).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|&item| std::cmp::Reverse(prompts[item].0.len()));
        for some in order.chunks(PROMPTS) {
            let told: Vec<Vec<i64>> = some.iter().map(|&item| prompts[item].0.clone()).collect();
            let texts = self.write(&told, until, longest)?;
            let asked =
                some.iter().zip(texts).map(|(&item, text)| Asked { item, outcome: Ok(Outcome::Answer { text }), cut: prompts[item].1 });
            done(asked.collect())?;
        }
        Ok(())
    }

    /// The most probable answers, each up to the first of the texts that end it.
    fn write(&self, prompts: &[Vec<i64>], until: &[String], longest: usize) -> Result<Vec<String>> {
        let text =
            |tokens: &[i64]| self.encoder.tokenizer.decode(&tokens.iter().filter_map(|&id| u32::try_from(id).ok()).collect::<Vec<_>>());
        let ends = |tokens: &[i64]| text(tokens).is_ok_and(|text| until.iter().any(|end| text.contains(end.as_str())));
        let options = Options {
            max_new_tokens: longest,
            stop_ids: self.stop_ids.clone(),
            banned_ids: self.banned_ids.clone(),
            stop_when: Some(&ends),
            ..Options::default()
        };
        let cut = |text: String| {
            let end = until.iter().filter_map(|end| text.find(end.as_str())).min().unwrap_or(text.len());
            text[..end].to_owned()
        };
        let traces = generate(self.model, prompts, &options)?;
        traces.iter().map(|samples| Ok(cut(samples.first().map_or(Ok(String::new()), |trace| text(&trace.tokens))?))).collect()
    }
}

fn encode(encoder: &Encoder, item: usize, of: &Item) -> Result<Encoded> {
    let pairs: Vec<Pair> = match &of.question {
        Question::Pairs { pairs, .. } => pairs.iter().map(|(context, follows)| encoder.pair(context, follows)).collect::<Result<_>>()?,
        Question::Text(text) => encoder.windows(text)?.into_iter().map(|row| Pair { row, cut: 0 }).collect(),
        Question::Prompt { .. } => Vec::new(),
    };
    Ok(Encoded { item, cut: pairs.iter().map(|pair| pair.cut).max().unwrap_or(0), pairs })
}

fn failed(item: usize, reason: &str) -> Asked {
    Asked { item, outcome: Err(reason.to_owned()), cut: 0 }
}

/// What all whole rows begin with.
fn prefix(encoded: &[Encoded]) -> Vec<i64> {
    let pairs: Vec<&Pair> = encoded.iter().flat_map(|encoded| &encoded.pairs).collect();
    let length = shared(&pairs);
    let first = pairs.iter().find(|pair| pair.cut == 0);
    first.map_or_else(Vec::new, |pair| pair.row.tokens[..length].to_vec())
}

/// Runs the rows of some items: whole ones after the prefix, those that were cut by themselves.
fn outcomes((after, alone): &(Begun, Begun), prefix: usize, some: &[Encoded], items: &[&Item]) -> Result<Vec<Asked>> {
    let rows = |whole: bool, skipped: usize| {
        let pairs = some.iter().flat_map(|encoded| &encoded.pairs).filter(move |pair| (pair.cut == 0) == whole);
        pairs.map(|pair| Row { tokens: pair.row.tokens[skipped..].to_vec(), scored: pair.row.scored }).collect::<Vec<_>>()
    };
    let mut whole = after.continued(&rows(true, prefix))?.into_iter();
    let mut cut = alone.continued(&rows(false, 0))?.into_iter();
    let mut next = |pair: &Pair| if pair.cut == 0 { whole.next() } else { cut.next() };
    let outcome = |encoded: &Encoded| {
        let continued: Vec<Continued> = encoded.pairs.iter().filter_map(&mut next).collect();
        Asked { item: encoded.item, outcome: Ok(told(&items[encoded.item].question, encoded, &continued)), cut: encoded.cut }
    };
    Ok(some.iter().map(outcome).collect())
}

fn told(question: &Question, encoded: &Encoded, continued: &[Continued]) -> Outcome {
    let Question::Text(text) = question else { return Outcome::of_pairs(continued) };
    Outcome::Text {
        logprob: continued.iter().map(|continued| continued.logprob).sum(),
        words: words(text),
        bytes: text.len(),
        tokens: encoded.pairs.iter().map(|pair| pair.row.scored).sum(),
    }
}

/// Pieces between runs of white space, empty ones at the ends counted, as Python's `re.split(r"\s+", text)` has them.
fn words(text: &str) -> usize {
    let ends = usize::from(text.starts_with(char::is_whitespace)) + usize::from(text.ends_with(char::is_whitespace));
    (text.split_whitespace().count() + ends).max(1)
}
