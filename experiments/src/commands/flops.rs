//! `coppice flops`: what a token costs in parameters, FLOPs and bytes.

use anyhow::Result;
use clap::Args;
use coppice_models::Config;
use coppice_models::flops::{Account, Setting};
use serde_json::json;

use crate::common::{Outcome, resolve_model};
use crate::output;

/// Parameters, active parameters, FLOPs and bytes per token for prefill, decode and training. Needs only config.json.
#[derive(Debug, Args)]
pub struct FlopsArgs {
    /// Checkpoint folder (its config.json is enough), or the ID of a pulled one.
    #[arg(long, value_name = "DIR")]
    model: String,
    /// Tokens of a prompt or training sequence, and positions a decoded token attends to.
    #[arg(long, default_value_t = 4096, value_name = "C")]
    context: u64,
    /// Sequences decoded or trained on side by side.
    #[arg(long, default_value_t = 1, value_name = "B")]
    batch: u64,
    /// Bytes of one stored weight (4: f32, 2: bf16, 1: 8 bits).
    #[arg(long, default_value_t = 2.0, value_name = "BYTES")]
    weight_bytes: f64,
    /// Bytes of one element of the KV cache.
    #[arg(long, default_value_t = 2.0, value_name = "BYTES")]
    cache_bytes: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl FlopsArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let setting = Setting {
            context: self.context,
            batch: self.batch,
            weight_bytes: self.weight_bytes,
            cache_bytes: self.cache_bytes,
            ..Setting::default()
        };
        let account = Account::new(&Config::load(&resolve_model(&self.model)?)?, setting)?;
        if self.json {
            output::json(&json!({ "account": account, "conventions": account.conventions() }))?;
            return Ok(Outcome::Done);
        }
        table(&account).into_iter().try_for_each(output::line)?;
        output::line("")?;
        account.conventions().into_iter().try_for_each(output::line)?;
        Ok(Outcome::Done)
    }
}

fn table(account: &Account) -> Vec<String> {
    let count = |name: &str, value: u64| format!("{name:<34}{value:>18}");
    let cost = |name: &str, flops: f64, bytes: f64| format!("{name:<34}{:>12.4} GFLOP {:>12.4} GB", flops / 1e9, bytes / 1e9);
    vec![
        count("parameters", account.parameters),
        count("active parameters", account.active_parameters),
        count("matmul parameters per token", account.matmul_parameters),
        format!("{:<34}{:>15.4} GB", "weights", account.weight_bytes / 1e9),
        format!("{:<34}{:>15.4} GB", "weights, gradients, AdamW (mixed)", account.training_state_bytes / 1e9),
        format!("{:<34}{:>16.0} B", "KV cache per token", account.cache_bytes_per_token),
        cost("prefill, per token", account.prefill_flops, account.prefill_bytes),
        cost("decode, per token", account.decode_flops, account.decode_bytes),
        cost("training, per token", account.training_flops, account.training_bytes),
    ]
}
