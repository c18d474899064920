//! `coppice flops --measure`: what was executed, read and waited for, beside what was predicted.

use anyhow::Result;
use coppice_models::doctor::{Machine, bandwidth};
use coppice_models::flops::{Account, Component, Place, Setting};
use coppice_models::measured::{Executed, Measured, Probe, measure};
use serde::Serialize;
use serde_json::json;

use super::FlopsArgs;
use crate::common::{Interrupted, ModelArgs, Outcome, check_interrupt, progress};
use crate::output;

/// A pass, predicted and measured.
#[derive(Debug, Serialize)]
struct Compared<'a> {
    pass: &'static str,
    predicted_flops: f64,
    executed: &'a Executed,
    /// Predicted over executed.
    flops_ratio: f64,
}

/// Bytes of a decoding step, three ways.
#[derive(Debug, Serialize)]
struct Bytes {
    /// With the expected number of distinct experts.
    predicted: f64,
    /// With the number that the step read.
    predicted_with_measured_experts: f64,
    /// Read, each byte of weights and cache once.
    read: u64,
    /// Expected experts, predicted over read.
    ratio: f64,
    /// Bandwidth of the device's memory, measured now, 10⁹ bytes a second.
    bandwidth_gb_per_s: f64,
    /// What the memory could have moved in the time a step took: an upper bound, for a step that computes too.
    time_times_bandwidth: f64,
}

impl FlopsArgs {
    pub(super) fn measured(&self) -> Result<Outcome> {
        let arguments = ModelArgs { model: self.model.clone(), compute: self.compute.clone() };
        let (_, model) = arguments.load()?;
        let (context, batch) = (usize::try_from(self.context)?, usize::try_from(self.batch)?);
        let probe = Probe { context, batch, repeats: self.repeats, seed: self.seed, training: self.training };
        let setting = self.setting(model.kind().elt_size_in_bytes() as f64);
        let account = Account::new(&model.config, setting)?;
        let speed = bandwidth(model.device(), Machine::read().memory_available_bytes)?;
        let bar = progress(self.repeats as u64 * if self.training { 3 } else { 2 }, "measure");
        let found = measure(&model, &probe, &mut || {
            bar.inc(1);
            check_interrupt().map_err(|error| coppice_models::Error::Input(error.to_string()))
        });
        bar.finish_and_clear();
        if check_interrupt().is_err() {
            return Err(Interrupted::NothingWritten.into());
        }
        let found = found?;
        let experts = Account::new(&model.config, Setting { measured_experts: found.decode.distinct_experts, ..setting })?;
        self.compare(&account, &found, bytes(&account, &experts, &found.decode, speed))
    }

    fn compare(&self, account: &Account, found: &Measured, bytes: Bytes) -> Result<Outcome> {
        let passes = passes(account, found);
        if self.json {
            output::json(
                &json!({ "account": account, "conventions": conventions(account), "passes": passes, "decode_step_bytes": bytes }),
            )?;
            return Ok(Outcome::Done);
        }
        let lines = passes.iter().map(told).chain([String::new()]).chain(by_place(account, &found.decode));
        let lines = lines.chain([String::new()]).chain(bytes_told(&bytes, found)).chain([String::new()]);
        lines.chain(conventions(account)).try_for_each(output::line)?;
        Ok(Outcome::Done)
    }
}

fn bytes(account: &Account, with_measured: &Account, decode: &Executed, speed: f64) -> Bytes {
    Bytes {
        predicted: account.decode_step_bytes,
        predicted_with_measured_experts: with_measured.decode_step_bytes,
        read: decode.bytes,
        ratio: account.decode_step_bytes / decode.bytes as f64,
        bandwidth_gb_per_s: speed,
        time_times_bandwidth: decode.seconds * speed * 1e9,
    }
}

fn passes<'a>(account: &Account, found: &'a Measured) -> Vec<Compared<'a>> {
    let all = [
        ("prefill", account.prefill_flops, Some(&found.prefill)),
        ("decode", account.decode_flops, Some(&found.decode)),
        ("training", account.training_flops, found.training.as_ref()),
    ];
    let compared = |(pass, per_token, executed): (&'static str, f64, Option<&'a Executed>)| {
        let executed = executed?;
        let predicted_flops = per_token * executed.tokens as f64;
        Some(Compared { pass, predicted_flops, executed, flops_ratio: predicted_flops / executed.flops as f64 })
    };
    all.into_iter().filter_map(compared).collect()
}

fn told(pass: &Compared) -> String {
    let Executed { tokens, products, flops, seconds, .. } = pass.executed;
    let rate = *flops as f64 / seconds / 1e9;
    format!(
        "{:<9} {tokens} tokens: predicted {:.6} GFLOP, executed {:.6} in {products} products (ratio {:.6}); {:.2} ms, {rate:.1} GFLOP/s",
        pass.pass,
        pass.predicted_flops / 1e9,
        *flops as f64 / 1e9,
        pass.flops_ratio,
        seconds * 1e3
    )
}

/// The decoding step, place by place.
fn by_place(account: &Account, decode: &Executed) -> Vec<String> {
    let head = format!(
        "{:<28}{:>16}{:>16}{:>16}{:>16}",
        "a decoding step, by place", "predicted MFLOP", "executed MFLOP", "predicted MB", "read MB"
    );
    let line = |part: &Component| {
        let cost = decode.by_place.get(&part.place).copied().unwrap_or_default();
        let (predicted, executed) = (part.decode_flops * account.setting.batch as f64 / 1e6, cost.flops as f64 / 1e6);
        let (bytes, read) = (part.decode_step_bytes / 1e6, cost.bytes as f64 / 1e6);
        format!("  {:<26}{predicted:>16.6}{executed:>16.6}{bytes:>16.6}{read:>16.6}", part.place.name())
    };
    let stray = decode.by_place.keys().filter(|place| account.components.iter().all(|part| part.place != **place));
    let stray = stray.map(|place: &Place| format!("  {} ran and was not predicted", place.name()));
    std::iter::once(head).chain(account.components.iter().map(line)).chain(stray).collect()
}

fn bytes_told(bytes: &Bytes, found: &Measured) -> Vec<String> {
    let megabytes = |value: f64| format!("{:.3} MB", value / 1e6);
    let mut lines = vec![format!(
        "bytes of a decoding step: predicted {}, read {} (ratio {:.4}); {:.2} ms x {:.1} GB/s = {}",
        megabytes(bytes.predicted),
        megabytes(bytes.read as f64),
        bytes.ratio,
        found.decode.seconds * 1e3,
        bytes.bandwidth_gb_per_s,
        megabytes(bytes.time_times_bandwidth)
    )];
    lines.extend(found.decode.distinct_experts.map(|experts| {
        format!(
            "distinct experts a routed layer read: {experts:.3}; with them the prediction is {}",
            megabytes(bytes.predicted_with_measured_experts)
        )
    }));
    lines
}

/// Those of the predictions, and what measuring adds.
fn conventions(account: &Account) -> Vec<String> {
    let mut all = account.conventions();
    all.push("Executed products are those that libtorch's dispatcher and Coppice's kernels ran; bytes read are the parts of weights and cache handed to them, each byte once.".into());
    all.push("Fused attention computes the scores again in its backward pass, which training's prediction leaves out: half of attention's forward FLOPs more are executed.".into());
    all
}
