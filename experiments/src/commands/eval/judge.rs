//! The options that name a judge.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use coppice_detect::server::{Access, Endpoint, Remote, Retry, Server};
use serde_json::Map;

use crate::eval::judged::Judge;

/// Where --help lists these options.
const HEADING: &str = "A judge at a server";

/// A model at a server with OpenAI's HTTP interface that marks answers.
#[derive(Debug, Clone, Args)]
pub(super) struct JudgeArgs {
    /// The judge's base address, such as http://localhost:8080; a host alone gets /v1.
    #[arg(long, help_heading = HEADING, value_name = "URL")]
    judge: Option<String>,
    /// The judge's name at the server. Default: the only model it has.
    #[arg(long, help_heading = HEADING, value_name = "M", requires = "judge")]
    judge_model: Option<String>,
    /// The environment variable that holds the API key; without it no key is sent.
    #[arg(long, help_heading = HEADING, value_name = "NAME", requires = "judge")]
    judge_key_env: Option<String>,
    /// Longest wait for a whole judgement, seconds.
    #[arg(long, help_heading = HEADING, default_value_t = 120.0, value_name = "S")]
    judge_timeout: f64,
    /// Further tries after a failure that may pass.
    #[arg(long, help_heading = HEADING, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=20))]
    judge_retries: u8,
    /// Judgements that are asked for at once.
    #[arg(long, help_heading = HEADING, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    judge_concurrency: u16,
}

impl JudgeArgs {
    /// The judge.
    ///
    /// # Errors
    /// When none is named, or it cannot be reached.
    pub(super) fn open(&self) -> Result<Judge> {
        let address = self.judge.clone().ok_or_else(|| anyhow!("it needs a judge; --judge names a server"))?;
        if !(self.judge_timeout.is_finite() && (0.001..=86_400.0).contains(&self.judge_timeout)) {
            bail!("--judge-timeout is {}; expected seconds, 0.001 to 86400", self.judge_timeout);
        }
        let retry = Retry { retries: usize::from(self.judge_retries), ..Retry::default() };
        let timeout = Duration::from_secs_f64(self.judge_timeout);
        let server = Server::new(Access { address, key: self.key()?, timeout, retry })?;
        let remote = Remote::open(server, self.judge_model.clone(), Endpoint::Chat, Map::new())?;
        Ok(Judge { remote: Arc::new(remote), concurrency: usize::from(self.judge_concurrency) })
    }

    fn key(&self) -> Result<Option<String>> {
        let Some(name) = &self.judge_key_env else { return Ok(None) };
        let key = std::env::var(name).map_err(|_| anyhow!("--judge-key-env names {name}, which is not set, or is no text"))?;
        let key = key.trim();
        if key.is_empty() { bail!("--judge-key-env names {name}, which is empty") } else { Ok(Some(key.to_owned())) }
    }
}
