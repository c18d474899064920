//! One task from prompts to marks: what is not answered yet is asked, every answer is kept as it comes, and each item is marked.

use std::collections::HashMap;

use anyhow::Result;
use coppice_models::Model;
use coppice_models::tokenizer::Tokenizer;
use indicatif::ProgressBar;

use super::answers::Marker;
use super::cache::{Answer, Cache, key};
use super::encode::{Encoder, Pair};
use super::generation::{self, Writer};
use super::items::Item;
use super::likelihood::{self, likelihoods};
use super::metric::Metric;
use super::metrics::{Value, of_choices, of_continuation, of_document};
use super::prompt::Question;
use super::task::{Kind, Task};
use crate::common::{Interrupted, check_interrupt, progress};

/// A task with its items.
#[derive(Debug)]
pub struct Prepared {
    /// Its name in the results.
    pub name: String,
    /// The task.
    pub task: Task,
    /// Its items.
    pub items: Vec<Item>,
    /// Marks generated answers.
    pub marker: Marker,
}

/// A model ready to answer.
pub struct Evaluator<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Turns texts into tokens.
    pub encoder: Encoder<'a>,
    /// Ids that end an answer.
    pub stop_ids: Vec<i64>,
    /// What was answered so far.
    pub cache: Cache,
}

/// A metric of an item: its name in the results, what it is, and its value.
pub type Marks = Vec<(String, Metric, Value)>;

/// What became of an item.
#[derive(Debug)]
pub struct Marked {
    /// Tokens cut off on the left of its prompt because it exceeds the context.
    pub cut: usize,
    /// Its answer and marks, or why there are none.
    pub outcome: Result<(Answer, Marks), String>,
}

/// An item as the model is asked.
struct Encoded {
    key: String,
    form: Form,
    cut: usize,
}

enum Form {
    Pairs(Vec<Pair>),
    Prompt(generation::Asked),
}

/// Encoded items, or why they are none.
type All = [Result<Encoded, String>];

impl Evaluator<'_> {
    /// Asks what is not answered yet, and marks every item.
    ///
    /// # Errors
    /// When the user interrupts, the model fails, or an answer cannot be kept. A bad item is an outcome of its own.
    pub fn evaluate(&mut self, prepared: &Prepared) -> Result<Vec<Marked>> {
        let encoded = self.encoded_all(prepared)?;
        let is_open = |item: &usize| encoded[*item].as_ref().is_ok_and(|encoded| self.cache.get(&encoded.key).is_none());
        let open: Vec<usize> = (0..encoded.len()).filter(is_open).collect();
        let bar = progress(open.len() as u64, &prepared.name);
        match prepared.task.kind {
            Kind::Generation => self.write(prepared, &encoded, &open, &bar)?,
            _ => self.score(prepared, &encoded, &open, &bar)?,
        }
        bar.finish_and_clear();
        Ok(prepared.items.iter().zip(encoded).map(|(item, encoded)| self.marked(prepared, item, encoded)).collect())
    }

    fn encoded_all(&self, prepared: &Prepared) -> Result<Vec<Result<Encoded, String>>> {
        let bar = progress(prepared.items.len() as u64, &format!("{}: tokens", prepared.name));
        let mut all = Vec::with_capacity(prepared.items.len());
        for item in &prepared.items {
            check_interrupt().map_err(|_| Interrupted::Journal)?;
            all.push(self.encoded(prepared, item));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(all)
    }

    fn encoded(&self, prepared: &Prepared, item: &Item) -> Result<Encoded, String> {
        let question = item.question.as_ref().map_err(Clone::clone)?;
        let new = prepared.task.prompt.max_new_tokens;
        let (key, form, cut) = match question {
            Question::Generation { context, until, .. } => {
                let (ids, cut) = self.encoder.prompt(context, new)?;
                (key(&(&ids, until, new)), Form::Prompt(generation::Asked { ids, until: until.clone() }), cut)
            }
            _ => {
                let pairs = self.pairs(question)?;
                let asked: Vec<_> = pairs.iter().map(|pair| (&*pair.context, &pair.continuation)).collect();
                let cut = pairs.iter().map(|pair| pair.cut).max().unwrap_or(0);
                (key(&asked), Form::Pairs(pairs), cut)
            }
        };
        Ok(Encoded { key: key.map_err(|error| error.to_string())?, form, cut })
    }

    fn pairs(&self, question: &Question) -> Result<Vec<Pair>, String> {
        match question {
            Question::Choices { pairs, .. } => {
                let of = |group: &[(String, String)]| {
                    let continuations: Vec<&str> = group.iter().map(|(_, continuation)| continuation.as_str()).collect();
                    self.encoder.pairs(&group[0].0, &continuations)
                };
                Ok(pairs.chunk_by(|(one, _), (other, _)| one == other).map(of).collect::<Result<Vec<_>, _>>()?.concat())
            }
            Question::Continuation(context, continuation) => self.encoder.pairs(context, &[continuation]),
            Question::Document { text, .. } => self.encoder.windows(text),
            Question::Generation { .. } => Err("a prompt to be continued has no pairs".into()),
        }
    }

    fn score(&mut self, prepared: &Prepared, encoded: &All, open: &[usize], bar: &ProgressBar) -> Result<()> {
        let mut beginnings = HashMap::new();
        let asked = open.iter().filter_map(|&item| {
            let next = beginnings.len();
            let beginning = *beginnings.entry(prepared.items[item].before.as_str()).or_insert(next);
            match &encoded[item].as_ref().ok()?.form {
                Form::Pairs(pairs) => Some(likelihood::Asked { beginning, pairs: pairs.clone() }),
                Form::Prompt(_) => None,
            }
        });
        let asked: Vec<likelihood::Asked> = asked.collect();
        let keys = keys(encoded, open);
        likelihoods(self.model, &asked, |portion| {
            keep(&mut self.cache, portion.into_iter().map(|(place, scores)| (keys[place].clone(), Answer::scored(&scores))).collect(), bar)
        })
    }

    fn write(&mut self, prepared: &Prepared, encoded: &All, open: &[usize], bar: &ProgressBar) -> Result<()> {
        let asked = open.iter().filter_map(|&item| match &encoded[item].as_ref().ok()?.form {
            Form::Prompt(asked) => Some(asked.clone()),
            Form::Pairs(_) => None,
        });
        let asked: Vec<generation::Asked> = asked.collect();
        let keys = keys(encoded, open);
        self.write_all(&asked, prepared.task.prompt.max_new_tokens, &keys, bar)
    }

    /// Has the model answer prompts, and keeps each answer under its key.
    ///
    /// # Errors
    /// When the user interrupts, the model fails, or an answer cannot be kept.
    pub fn write_all(&mut self, asked: &[generation::Asked], max_new_tokens: usize, keys: &[String], bar: &ProgressBar) -> Result<()> {
        let writer = Writer { model: self.model, tokenizer: self.tokenizer, stop_ids: &self.stop_ids, max_new_tokens };
        writer.answers(asked, |batch| {
            keep(&mut self.cache, batch.into_iter().map(|(place, text)| (keys[place].clone(), Answer::written(vec![text]))).collect(), bar)
        })
    }

    fn marked(&self, prepared: &Prepared, item: &Item, encoded: Result<Encoded, String>) -> Marked {
        let cut = encoded.as_ref().map_or(0, |encoded| encoded.cut);
        let outcome = encoded.and_then(|encoded| {
            let answer = self.cache.get(&encoded.key).ok_or("it was not answered")?;
            let question = item.question.as_ref().map_err(Clone::clone)?;
            let tokens = if let Form::Pairs(pairs) = &encoded.form { pairs.iter().map(|pair| pair.continuation.len()).sum() } else { 0 };
            Ok((answer.clone(), marks(prepared, question, answer, tokens)))
        });
        Marked { cut, outcome }
    }
}

fn keys(encoded: &All, open: &[usize]) -> Vec<String> {
    open.iter().filter_map(|&item| Some(encoded[item].as_ref().ok()?.key.clone())).collect()
}

/// Keeps answers, and looks whether the user wants to stop.
fn keep(cache: &mut Cache, answers: Vec<(String, Answer)>, bar: &ProgressBar) -> Result<()> {
    bar.inc(answers.len() as u64);
    cache.keep(answers)?;
    check_interrupt().map_err(|_| Interrupted::Journal.into())
}

/// What an answer comes to.
fn marks(prepared: &Prepared, question: &Question, answer: &Answer, tokens: usize) -> Marks {
    let scores = answer.continued();
    let named = |metric: Metric, value: Value| (metric.name().to_owned(), metric, value);
    let metrics = prepared.task.metrics.iter().copied();
    match question {
        Question::Choices { right, lengths, .. } => {
            metrics.map(|metric| named(metric, of_choices(metric, &scores, right, lengths))).collect()
        }
        Question::Continuation(..) => {
            metrics.flat_map(|metric| scores.first().map(|&score| named(metric, of_continuation(metric, score)))).collect()
        }
        Question::Document { counted, .. } => {
            let logprob = scores.iter().map(|score| score.logprob).sum();
            metrics.map(|metric| named(metric, of_document(metric, logprob, counted, tokens))).collect()
        }
        Question::Generation { answers, .. } => {
            let text = answer.texts.first().map(String::as_str).unwrap_or_default();
            let mark = |(filter, taken): (String, String)| {
                (with_filter(&filter), Metric::ExactMatch, Value::is(prepared.marker.is_right(&taken, answers)))
            };
            prepared.marker.filtered(text).into_iter().map(mark).collect()
        }
    }
}

/// `exact_match,strict-match`, as lm-eval names it.
fn with_filter(filter: &str) -> String {
    if filter.is_empty() { Metric::ExactMatch.name().to_owned() } else { format!("{},{filter}", Metric::ExactMatch.name()) }
}
