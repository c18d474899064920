//! What a model answers: the most probable answer and samples to every question, graded against the true table, and the entropy
//! over whole pools of answers.

use std::path::Path;

use anyhow::Result;
use coppice_detect::{Record, Sample};
use coppice_models::Model;
use coppice_models::candidates::candidate_logprobs;
use coppice_models::fs::Existing;
use coppice_models::generate::{Options, Trace, generate};
use coppice_models::sampling::Sampling;
use coppice_models::tokenizer::Tokenizer;
use coppice_upcycle::world::{Grade, Group, Question, World, grade};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::recipe::DetectRecipe;
use crate::common::check_interrupt;
use crate::jsonl;

/// Prompts decoded side by side.
const PROMPTS_AT_A_TIME: usize = 100;

/// The files of a finished stage of answers; `coppice detect` reads the records.
const ANSWERS: &str = "answers.jsonl";
const RECORDS: &str = "records.jsonl";
const POOLS: &str = "pools.jsonl";

/// A question, the answer, and what it is worth.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answered {
    /// What was asked.
    pub question: Question,
    /// How the answer compares with the true table.
    pub grade: Grade,
    /// The answer with its trace and samples, labelled.
    pub record: Record,
}

/// How a model spreads its belief over all answers a question can have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolBelief {
    /// The question's id.
    pub id: String,
    /// What the training text says about the person.
    pub group: Group,
    /// Biographies of the person in each pass.
    pub exposures_per_pass: usize,
    /// Entropy of the probabilities of the pool's answers, normalised over the pool, in nats.
    pub entropy: f64,
    /// Number of answers.
    pub pool_size: usize,
}

/// One model being asked.
pub struct Asking<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The world it was told of.
    pub world: &'a World,
    /// How answers are drawn.
    pub recipe: &'a DetectRecipe,
    /// Id that ends an answer.
    pub end_of_text: i64,
}

impl Asking<'_> {
    /// Asks everything and keeps it in `folder`.
    pub fn run(&self, questions: &[Question], folder: &Path) -> Result<()> {
        let mut answered = Vec::with_capacity(questions.len());
        for some in questions.chunks(PROMPTS_AT_A_TIME) {
            check_interrupt()?;
            answered.extend(self.answer(some)?);
        }
        let beliefs = self.pool_questions(questions).map(|question| self.belief(question)).collect::<Result<Vec<_>>>()?;
        jsonl::write(&folder.join(RECORDS), Existing::Replace, answered.iter().map(|answered| &answered.record))?;
        jsonl::write(&folder.join(ANSWERS), Existing::Replace, answered)?;
        jsonl::write(&folder.join(POOLS), Existing::Replace, beliefs)
    }

    fn encode(&self, text: &str) -> Result<Vec<i64>> {
        Ok(self.tokenizer.encode(text)?.into_iter().map(i64::from).collect())
    }

    fn answer(&self, questions: &[Question]) -> Result<Vec<Answered>> {
        let prompts = questions.iter().map(|question| self.encode(&question.prompt)).collect::<Result<Vec<_>>>()?;
        let options = Options {
            max_new_tokens: self.recipe.max_new_tokens,
            samples: self.recipe.samples + 1,
            sampling: Sampling { temperature: self.recipe.temperature, ..Sampling::default() },
            seed: self.recipe.seed,
            stop_ids: vec![self.end_of_text],
            top_logprobs: 5,
            greedy_first: true,
            ..Options::default()
        };
        let traces = generate(self.model, &prompts, &options)?;
        questions.iter().zip(traces).map(|(question, traces)| self.grade(question, &traces)).collect()
    }

    fn grade(&self, question: &Question, traces: &[Trace]) -> Result<Answered> {
        let samples = traces.iter().map(|trace| self.sample(trace)).collect::<Result<Vec<_>>>()?;
        let (first, rest) = (samples[0].clone(), samples[1..].to_vec());
        let grade = grade(&first.text, question, self.world.pools());
        let record = Record {
            id: question.id.clone(),
            prompt: question.prompt.clone(),
            response: first.text,
            tokens: first.tokens,
            token_logprobs: first.token_logprobs,
            token_entropies: first.token_entropies,
            top_logprobs: Some(traces[0].top_logprobs.clone()),
            samples: rest,
            reference: question.answers.clone(),
            label: Some(u8::from(grade != Grade::Correct)),
            source: Some(
                json!({ "person": question.person, "group": question.group, "exposures": question.total_exposures, "grade": grade,
                                 "temperature": self.recipe.temperature, "seed": self.recipe.seed }),
            ),
            ..Record::default()
        };
        Ok(Answered { question: question.clone(), grade, record })
    }

    fn sample(&self, trace: &Trace) -> Result<Sample> {
        let ids: Vec<u32> = trace.tokens.iter().map(|&id| id as u32).collect();
        Ok(Sample {
            text: self.tokenizer.decode(&ids)?,
            tokens: Some(trace.tokens.clone()),
            token_logprobs: Some(trace.logprobs.clone()),
            token_entropies: Some(trace.entropies.clone()),
            ..Sample::default()
        })
    }

    /// The first questions about people never told of, and about those told most often.
    fn pool_questions<'q>(&self, questions: &'q [Question]) -> impl Iterator<Item = &'q Question> {
        let most = questions.iter().filter(|question| question.group == Group::Known).map(|question| question.exposures_per_pass).max();
        let count = self.recipe.pool_questions;
        let never = questions.iter().filter(|question| question.group == Group::Never).take(count);
        let best = questions.iter().filter(move |question| question.group == Group::Known && Some(question.exposures_per_pass) == most);
        never.chain(best.take(count))
    }

    fn belief(&self, question: &Question) -> Result<PoolBelief> {
        check_interrupt()?;
        let answers = self.world.pools().answers(question.attribute);
        let ended = |answer: &String| Ok([self.encode(&format!(" {answer}"))?, vec![self.end_of_text]].concat());
        let candidates = answers.iter().map(ended).collect::<Result<Vec<_>>>()?;
        let logprobs = candidate_logprobs(self.model, &self.encode(&question.prompt)?, &candidates)?;
        let Question { id, group, exposures_per_pass, .. } = question.clone();
        Ok(PoolBelief { id, group, exposures_per_pass, entropy: entropy(&logprobs), pool_size: answers.len() })
    }
}

/// Entropy in nats of the distribution proportional to `exp(logprobs)`.
fn entropy(logprobs: &[f64]) -> f64 {
    let best = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = best + logprobs.iter().map(|logprob| (logprob - best).exp()).sum::<f64>().ln();
    -logprobs.iter().map(|logprob| logprob - total).map(|log| if log.is_finite() { log.exp() * log } else { 0.0 }).sum::<f64>()
}

/// The answers of a finished stage.
pub fn read(folder: &Path) -> Result<Vec<Answered>> {
    jsonl::read(&folder.join(ANSWERS))
}

/// The beliefs of a finished stage.
pub fn read_beliefs(folder: &Path) -> Result<Vec<PoolBelief>> {
    jsonl::read(&folder.join(POOLS))
}

#[cfg(test)]
mod tests {
    use super::entropy;

    #[test]
    fn the_entropy_over_a_pool_is_normalised() {
        assert!((entropy(&[-7.0; 10]) - 10f64.ln()).abs() < 1e-12);
        assert!(entropy(&[-3.0, f64::NEG_INFINITY]).abs() < 1e-12);
    }
}
