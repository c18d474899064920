//! How to read an inspection's figures, in words: what was counted how, and what the model's own choices mean for them.

use coppice_models::config::Config;
use coppice_models::{Gate, MoeConfig};
use serde_json::Value;

use super::vocabulary::FEWEST_ROUTINGS;
use crate::methods::Projection;

/// Fewer tokens for each expert than this, on average, and an idle expert may only have been unlucky.
const FEW_TOKENS: u64 = 100;

/// Notes on a model measured on `tokens` tokens.
pub(super) fn notes(config: &Config, moe: &MoeConfig, tokens: u64, parent: bool) -> Vec<String> {
    let mut notes = vec![format!(
        "vocabulary specialisation is the largest share one expert has of an id's routings, a mean over ids weighted by their routings; \
         ids with fewer than {FEWEST_ROUTINGS} are left out, and a predicted id is the model's most probable next token"
    )];
    notes.extend(few(moe, tokens));
    notes.extend(gate(moe));
    notes.extend(moe.shared_expert.as_ref().map(|_| "the shared expert takes every token and is not counted among the experts".into()));
    notes.extend(split(config, moe, parent));
    notes
}

fn few(moe: &MoeConfig, tokens: u64) -> Option<String> {
    let each = tokens * moe.experts_per_token as u64 / moe.num_experts as u64;
    let sentence = || format!("with {tokens} tokens an expert gets {each} on average: one without a token may only have been unlucky");
    (each < FEW_TOKENS).then(sentence)
}

fn gate(moe: &MoeConfig) -> Option<String> {
    match moe.gate {
        gate if gate.is_expert_choice() => Some(format!(
            "gate {}: experts chose among the tokens of one piece of text at a time, so their loads are even by construction",
            gate.name()
        )),
        Gate::SigmoidTopkRenorm => Some("the router's entropy is that of its sigmoid scores divided by their sum".into()),
        _ => None,
    }
}

/// Experts that are parts of an MLP.
fn split(config: &Config, moe: &MoeConfig, parent: bool) -> Option<String> {
    let parts = granularity(moe);
    if parts <= 1 || config.intermediate_size <= moe.expert_intermediate_size {
        return None;
    }
    let compared = if parent { format!("; expert i is compared with part i mod {parts} of the parent") } else { String::new() };
    Some(format!("experts are parts of an MLP split in {parts}: only experts of the same part can look alike{compared}"))
}

/// `G`, the parts each dense MLP was split into, as the conversion wrote it down; 1 where it did not.
pub(crate) fn granularity(moe: &MoeConfig) -> usize {
    fact(moe, "granularity").and_then(Value::as_u64).unwrap_or(1).max(1) as usize
}

/// Whether the conversion permuted the experts' hidden units.
pub(crate) fn is_permuted(moe: &MoeConfig) -> bool {
    fact(moe, "permuted").and_then(Value::as_bool).unwrap_or(false)
}

/// The conversion's seed; 0 where it did not write it down.
pub(crate) fn seed(moe: &MoeConfig) -> u64 {
    fact(moe, "seed").and_then(Value::as_u64).unwrap_or(0)
}

/// What a conversion multiplied one matrix of each part by (`scaling` and `factor` of virtual groups); 1 where it did not.
pub(crate) fn scaling(moe: &MoeConfig, projection: Projection) -> f64 {
    let factor = fact(moe, "factor").and_then(Value::as_f64).unwrap_or(1.0);
    match (fact(moe, "scaling").and_then(Value::as_str).unwrap_or_default(), projection) {
        ("down", Projection::Down) => factor,
        ("sqrt_up_down", Projection::Up | Projection::Down) => factor.sqrt(),
        ("cube_root", _) => factor.cbrt(),
        _ => 1.0,
    }
}

fn fact<'a>(moe: &'a MoeConfig, name: &str) -> Option<&'a Value> {
    moe.upcycling.as_ref()?.get(name)
}
