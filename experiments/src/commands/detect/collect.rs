//! `coppice detect collect`: questions to records, answered by a model at a server or by the engine.

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use coppice_detect::contrast;
use coppice_detect::server::{Collector, Plan, Question, QuestionError, ServerError, read_questions};
use serde_json::{Value, json};

use super::engine::EngineArgs;
use super::ledger::{BadLine, Key, Ledger, OutputArgs};
use super::server::{RemoteArgs, work_off};
use crate::common::{Outcome, open_file};

/// Makes records of questions: the most probable answer of a model, at a server or in a folder, with log-probabilities, and samples.
/// An item that fails for good becomes {"id", "error"}, the rest is done, exit 1. Finished items are kept as they come: after Ctrl-C or a crash
/// --resume goes on. Servers give log-probabilities of the likeliest tokens alone, from which no entropy follows: records have no token_entropies.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("answers").required(true).args(["server", "model"])))]
pub(super) struct DetectCollectArgs {
    /// The server's base address, such as http://localhost:8080; a host alone gets /v1.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Questions, one JSON object a line: {"prompt"} or {"messages"}, with id, reference, label and source if you like. A line that has a
    /// response keeps it and gets samples.
    #[arg(long, value_name = "Q.jsonl")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    /// Samples beside the response.
    #[arg(long, default_value_t = 10, value_name = "N")]
    samples: usize,
    /// Temperature of the samples; the response is the most probable answer.
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    temperature: f64,
    /// Longest answer in tokens.
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_new_tokens: usize,
    /// Seed that goes with the first request; samples count on from it. Not every server keeps to it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Alternatives at every token of the response. Servers have a limit, often 20, for completions 5.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    top_logprobs: u16,
    /// The system's message before every prompt.
    #[arg(long, value_name = "TEXT", conflicts_with = "completion")]
    system: Option<String>,
    /// Answer variants of each question too: paraphrase, order, irrelevant, language, persona, temperature.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    variants: Vec<String>,
    /// Variants of each kind.
    #[arg(long, default_value_t = 2, value_name = "N", requires = "variants")]
    wordings: usize,
    /// Samples of each variant.
    #[arg(long, default_value_t = 1, value_name = "N", requires = "variants")]
    variant_samples: usize,
}

impl DetectCollectArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        self.output.differs_from(&self.input)?;
        let plan = self.plan()?;
        let questions = Arc::new(self.questions()?);
        let mut ledger;
        match (&self.server, &self.engine.model) {
            (Some(server), _) => {
                let remote = self.remote.open(server)?;
                ledger = self.ledger(&plan, &questions)?;
                let (collector, asked) = (Collector { remote, plan }, Arc::clone(&questions));
                work_off(&mut ledger, self.remote.concurrency(), "collect", move |item| line(&collector, &asked[item]))?;
            }
            (None, Some(model)) => {
                ledger = self.ledger(&plan, &questions)?;
                self.engine.work_off(model, self.remote.chat, &plan, &questions, &mut ledger)?;
            }
            (None, None) => bail!("neither --server nor --model"),
        }
        ledger.commit()
    }

    fn plan(&self) -> Result<Plan> {
        if !(0.0..=10.0).contains(&self.temperature) {
            bail!("--temperature is {}; expected 0 to 10", self.temperature);
        }
        if self.max_new_tokens == 0 {
            bail!("--max-new-tokens is 0; expected at least 1");
        }
        self.variants.iter().try_for_each(|kind| contrast::find(kind).map(drop))?;
        Ok(Plan {
            samples: self.samples,
            temperature: self.temperature,
            max_new_tokens: self.max_new_tokens,
            seed: self.seed,
            top_logprobs: (!self.remote.no_logprobs).then_some(usize::from(self.top_logprobs)),
            system: self.system.clone(),
            variants: self.variants.clone(),
            wordings: self.wordings,
            variant_samples: self.variant_samples,
        })
    }

    fn questions(&self) -> Result<Vec<Result<Question, QuestionError>>> {
        let file = open_file(&self.input)?;
        if file.metadata().is_ok_and(|found| found.len() == 0) {
            bail!("{} is empty", self.input.display());
        }
        Ok(read_questions(BufReader::new(file)))
    }

    fn ledger(&self, plan: &Plan, questions: &[Result<Question, QuestionError>]) -> Result<Ledger> {
        let settings = json!({ "command": "collect", "remote": self.remote.settings(), "engine": self.engine.settings(), "plan": plan });
        self.output.ledger(&settings, questions.iter().map(key).collect())
    }
}

fn key(question: &Result<Question, QuestionError>) -> Result<Key, BadLine> {
    let question = question.as_ref().map_err(|error| BadLine { id: error.id.clone(), error: error.to_string() })?;
    let response = question.is_answered().then(|| question.record.response.clone());
    Ok(Key { id: question.record.id.clone(), prompt: question.record.prompt.clone(), response })
}

fn line(collector: &Collector, question: &Result<Question, QuestionError>) -> Result<Value, ServerError> {
    let unwritable = |why: String| ServerError::Malformed { url: collector.remote.server().base().to_owned(), why };
    let question = question.as_ref().map_err(|error| unwritable(error.to_string()))?;
    let record = collector.record(question)?;
    question.completed(&record).map_err(|error| unwritable(error.to_string()))
}
