//! `coppice flops`: what a token costs in parameters, FLOPs and bytes, predicted and measured.

mod executed;
mod table;

use anyhow::Result;
use clap::Args;
use coppice_models::flops::{Account, Request, Setting, WeightBytes};
use coppice_models::{Checkpoint, Config};
use serde_json::json;

use crate::common::{Compute, Outcome, resolve_model};
use crate::output;

/// Parameters, active parameters, FLOPs and bytes per token for prefill, decode and training, by place and for a whole request. Needs only
/// config.json; --measure runs the model and shows what was executed beside it.
#[derive(Debug, Args)]
pub struct FlopsArgs {
    /// Checkpoint folder (its config.json is enough, unless --stored or --measure), or the ID of a pulled one.
    #[arg(long, value_name = "DIR")]
    model: String,
    /// Tokens of a prompt or training sequence, and positions a decoded token attends to.
    #[arg(long, default_value_t = 4096, value_name = "C")]
    context: u64,
    /// Sequences decoded or trained on side by side.
    #[arg(long, default_value_t = 1, value_name = "B")]
    batch: u64,
    /// Tokens a request generates after its prompt of C tokens.
    #[arg(long, default_value_t = 256, value_name = "N")]
    generate: u64,
    /// Bytes of one stored weight (4: f32, 2: bf16, 1: 8 bits). Default: 2, or with --measure those of the computing precision.
    #[arg(long, value_name = "BYTES", conflicts_with = "stored")]
    weight_bytes: Option<f64>,
    /// Count the bytes of weights as the checkpoint's files store them, kind by kind.
    #[arg(long)]
    stored: bool,
    /// Bytes of one element of the KV cache. Default: 2, or with --measure those of the computing precision.
    #[arg(long, value_name = "BYTES")]
    cache_bytes: Option<f64>,
    /// Run a prefill and a decoding step, count what is executed and read, time both, and compare.
    #[arg(long)]
    measure: bool,
    /// With --measure, run a forward and a backward pass too.
    #[arg(long, requires = "measure")]
    training: bool,
    /// With --measure, timed passes of each kind; the median counts.
    #[arg(long, default_value_t = 5, value_name = "N", requires = "measure")]
    repeats: usize,
    /// With --measure, seed of the tokens.
    #[arg(long, default_value_t = 0, requires = "measure")]
    seed: u64,
    #[command(flatten)]
    compute: Compute,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl FlopsArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        if self.measure {
            return self.measured();
        }
        let folder = resolve_model(&self.model)?;
        let (config, stored) = if self.stored {
            let checkpoint = Checkpoint::open(&folder)?;
            let widths = WeightBytes::stored(&checkpoint)?;
            (checkpoint.config, Some(widths))
        } else {
            (Config::load(&folder)?, None)
        };
        let setting = Setting { weight_bytes_by_kind: stored, ..self.setting(2.0) };
        let (account, request) = (Account::new(&config, setting)?, Request::new(&config, setting, self.generate)?);
        if self.json {
            output::json(&json!({ "account": account, "request": request, "conventions": account.conventions() }))?;
            return Ok(Outcome::Done);
        }
        let lines = table::account(&account).into_iter().chain([table::request(&request), String::new()]);
        lines.chain(account.conventions()).try_for_each(output::line)?;
        Ok(Outcome::Done)
    }

    /// The situation asked for, where elements take `bytes` unless said otherwise.
    fn setting(&self, bytes: f64) -> Setting {
        Setting {
            context: self.context,
            batch: self.batch,
            weight_bytes: self.weight_bytes.unwrap_or(bytes),
            cache_bytes: self.cache_bytes.unwrap_or(bytes),
            ..Setting::default()
        }
    }
}
