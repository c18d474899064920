//! The options that name a model at a server, and how its answers are gathered.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coppice_detect::server::{Access, Endpoint, Remote, Retry, Server, ServerError, each};
use serde_json::{Map, Value};

use super::ledger::Ledger;
use crate::common::{Interrupted, interrupted, progress};

/// Where --help lists these options.
const HEADING: &str = "A model at a server";
/// How often the wait for answers looks up, for Ctrl-C.
const LOOK_UP: Duration = Duration::from_millis(50);
/// Items in a row that could not reach the server, after which the rest is not tried.
const GIVE_UP: usize = 20;

/// A model at a server with OpenAI's HTTP interface: llama.cpp, vLLM and many others.
#[derive(Debug, Clone, Args)]
pub(super) struct RemoteArgs {
    /// The model's name at the server. Default: the only one it has.
    #[arg(long, help_heading = HEADING, value_name = "M")]
    model_name: Option<String>,
    /// Ask through /chat/completions (the default).
    #[arg(long, help_heading = HEADING, conflicts_with = "completion")]
    pub(super) chat: bool,
    /// Ask through /completions: prompts go to the model as they stand.
    #[arg(long, help_heading = HEADING)]
    completion: bool,
    /// Items that are asked for at once.
    #[arg(long, help_heading = HEADING, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Further tries after a failure that may pass (429, 500, 502, 503, 504, no answer in time, half an answer).
    #[arg(long, help_heading = HEADING, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=20))]
    retries: u8,
    /// Longest wait for a whole answer, seconds.
    #[arg(long, help_heading = HEADING, default_value_t = 60.0, value_name = "S")]
    timeout: f64,
    /// The environment variable that holds the API key; without it no key is sent.
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    api_key_env: Option<String>,
    /// Further fields of every request, as a JSON object; they go over those of coppice.
    #[arg(long, help_heading = HEADING, value_name = "JSON")]
    extra: Option<String>,
    /// Ask for no log-probabilities, of a server that gives none: records are texts alone, and a judge's choices are all or nothing.
    #[arg(long, help_heading = HEADING)]
    pub(super) no_logprobs: bool,
}

impl RemoteArgs {
    /// The model behind an address.
    pub(super) fn open(&self, address: &str) -> Result<Remote> {
        if !(self.timeout.is_finite() && (0.001..=86_400.0).contains(&self.timeout)) {
            bail!("--timeout is {}; expected seconds, 0.001 to 86400", self.timeout);
        }
        let extra = self.extra()?;
        let retry = Retry { retries: usize::from(self.retries), ..Retry::default() };
        let timeout = Duration::from_secs_f64(self.timeout);
        let server = Server::new(Access { address: address.to_owned(), key: self.key()?, timeout, retry })?;
        Ok(Remote::open(server, self.model_name.clone(), self.endpoint(), extra)?)
    }

    /// Items that are asked for at once.
    pub(super) fn concurrency(&self) -> usize {
        usize::from(self.concurrency)
    }

    /// The options that decide what is answered; the rest may differ when work is resumed.
    pub(super) fn settings(&self) -> Value {
        serde_json::json!({ "model_name": self.model_name, "endpoint": self.endpoint(), "extra": self.extra, "no_logprobs": self.no_logprobs })
    }

    fn endpoint(&self) -> Endpoint {
        if self.completion { Endpoint::Completion } else { Endpoint::Chat }
    }

    fn key(&self) -> Result<Option<String>> {
        let Some(name) = &self.api_key_env else { return Ok(None) };
        let key = std::env::var(name).map_err(|_| anyhow!("--api-key-env names {name}, which is not set, or is no text"))?;
        let key = key.trim();
        if key.is_empty() { bail!("--api-key-env names {name}, which is empty") } else { Ok(Some(key.to_owned())) }
    }

    fn extra(&self) -> Result<Map<String, Value>> {
        let Some(text) = &self.extra else { return Ok(Map::new()) };
        serde_json::from_str(text).context("--extra is no JSON object")
    }
}

/// Does the ledger's open items, several at a time, and enters each as it is done.
///
/// # Errors
/// When the user interrupts, a result cannot be written, or the server fails in a way that every other item would meet too.
pub(super) fn work_off(
    ledger: &mut Ledger,
    concurrency: usize,
    what: &str,
    work: impl Fn(usize) -> Result<Value, ServerError> + Send + Sync + 'static,
) -> Result<()> {
    let open = ledger.open_items();
    let bar = progress(open.len() as u64, what);
    let items = open.clone();
    let results = each(open.len(), concurrency, move |place| work(items[place]));
    let mut unreachable = 0;
    loop {
        match results.recv_timeout(LOOK_UP) {
            Ok((place, result)) => {
                unreachable = if result.as_ref().is_err_and(ServerError::is_unreachable) { unreachable + 1 } else { 0 };
                enter(ledger, open[place], result, unreachable)?;
                bar.inc(1);
            }
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if interrupted().load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Interrupted::Journal.into());
        }
    }
}

fn enter(ledger: &mut Ledger, item: usize, result: Result<Value, ServerError>, unreachable: usize) -> Result<()> {
    match result {
        Err(error) if error.is_final() || unreachable >= GIVE_UP => {
            let kept = ledger.finished();
            let rest = if kept == 0 { String::new() } else { format!("; {kept} finished items are kept, --resume goes on") };
            Err(anyhow!("{error}{rest}"))
        }
        Err(error) => {
            ledger.fail(item, &error.to_string());
            Ok(())
        }
        Ok(line) => ledger.finish(item, &line),
    }
}
