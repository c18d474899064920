//! `coppice detect judge`: what a model at a server thinks of responses.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;
use coppice_detect::Record;
use coppice_detect::reader::RecordError;
use coppice_detect::server::{Judge, Opinion, ServerError};
use serde_json::{Map, Value, json};

use super::ledger::{BadLine, Key, OutputArgs};
use super::open;
use super::server::{RemoteArgs, work_off};
use crate::common::Outcome;

/// Fills `judged` of records by asking a model at a server: whether each response is true, how sure it is, whether samples support it.
/// The scores p_true, p_true_sampling, verbalised and selfcheck_prompt read it. A choice is read off the probabilities of the answer's first token;
/// without log-probabilities it is 1 or 0. An opinion that the judge does not give stays absent. As with collect, a failed item becomes
/// {"id", "error"} (exit 1), and --resume goes on.
#[derive(Debug, Args)]
pub(super) struct DetectJudgeArgs {
    /// The server's base address, such as http://localhost:8080; a host alone gets /v1.
    #[arg(long, value_name = "URL")]
    server: String,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Records, one JSON object a line.
    #[arg(long, value_name = "R.jsonl")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    /// What is asked: p_true, p_true_sampling, verbalised, support. The last takes a request for each sentence and distinct sample. Default: all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    opinions: Vec<String>,
    /// Seed that goes with the requests.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl DetectJudgeArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        self.output.differs_from(&self.input)?;
        let opinions = self.opinions()?;
        let records = Arc::new(open(&self.input)?);
        let settings = json!({ "command": "judge", "remote": self.remote.settings(), "opinions": self.opinions, "seed": self.seed });
        let judge = Judge::new(self.remote.open(&self.server)?, !self.remote.no_logprobs, self.seed);
        let mut ledger = self.output.ledger(&settings, records.iter().map(key).collect())?;
        let asked = Arc::clone(&records);
        work_off(&mut ledger, self.remote.concurrency(), "judge", move |item| line(&judge, &asked[item], &opinions))?;
        ledger.commit()
    }

    fn opinions(&self) -> Result<Vec<Opinion>> {
        if self.opinions.is_empty() {
            return Ok(Opinion::ALL.to_vec());
        }
        let known = || Opinion::ALL.map(Opinion::name).join(", ");
        let find = |name: &String| Opinion::ALL.into_iter().find(|opinion| opinion.name() == name);
        self.opinions.iter().map(|name| find(name).ok_or_else(|| anyhow!("unknown opinion `{name}`; there are {}", known()))).collect()
    }
}

fn key(record: &Result<Record, RecordError>) -> Result<Key, BadLine> {
    let record = record.as_ref().map_err(|error| BadLine { id: error.id.clone(), error: error.to_string() })?;
    Ok(Key { id: record.id.clone(), prompt: record.prompt.clone(), response: Some(record.response.clone()) })
}

fn line(judge: &Judge, record: &Result<Record, RecordError>, opinions: &[Opinion]) -> Result<Value, ServerError> {
    let unwritable = |why: String| ServerError::Malformed { url: judge.remote().server().base().to_owned(), why };
    let mut record = record.as_ref().map_err(|error| unwritable(error.to_string()))?.clone();
    record.judged = Some(judge.judged(&record, opinions)?);
    record.source = Some(with_judge(record.source.take(), judge));
    record.check()?;
    serde_json::to_value(&record).map_err(|error| unwritable(error.to_string()))
}

/// The source with the judge in it.
fn with_judge(source: Option<Value>, judge: &Judge) -> Value {
    let remote = judge.remote();
    let mut source = match source {
        Some(Value::Object(fields)) => fields,
        Some(other) => Map::from_iter([("given".to_owned(), other)]),
        None => Map::new(),
    };
    source.insert("judge".to_owned(), json!({ "server": remote.kind().name(), "model": remote.model(), "endpoint": remote.endpoint() }));
    Value::Object(source)
}
