//! What the reader of a step-0 report should know beyond its numbers.

use coppice_models::{Checkpoint, Gate, MoeConfig};
use safetensors::Dtype;
use tch::{Device, Kind};

use crate::convert::MANIFEST;
use crate::methods::Preservation;

/// No router gradient, ties, weights that do not sum to 1, rounding, and a claim that the measurement does not bear out.
pub(super) fn notes([dense, upcycled]: [&Checkpoint; 2], exact: bool, claim: Option<&Preservation>) -> Vec<String> {
    let mut notes: Vec<String> = upcycled.config.moe.iter().filter_map(|moe| gate_note(moe, claim)).collect();
    notes.extend(upcycled.config.moe.iter().filter_map(|moe| zero_note(upcycled, moe)));
    notes.extend(upcycled.config.moe.iter().filter_map(start_note));
    notes.extend(degenerate_routers(upcycled));
    if claim == Some(&Preservation::Exact) && !exact {
        notes.push(broken_claim(upcycled.dtype()));
    }
    if dense.dtype() != upcycled.dtype() {
        notes.push(format!("stored as {} from {}: rounding is part of every difference", upcycled.dtype(), dense.dtype()));
    }
    notes
}

fn broken_claim(stored: Dtype) -> String {
    let start = "the method preserves the function in exact arithmetic";
    match stored {
        Dtype::F32 => format!("{start}, and in f32 it did not: a fault of the method, or weights that training has changed"),
        _ => format!("{start}: the difference is the rounding of scaled or averaged weights to {stored}"),
    }
}

/// Ties and symmetric gradients, where the first converted layer's router is zero.
fn zero_note(upcycled: &Checkpoint, moe: &MoeConfig) -> Option<String> {
    let name = format!("model.layers.{}.mlp.gate.weight", moe.layers.first()?);
    let router = upcycled.load(&name, Kind::Float, Device::Cpu).ok()?;
    let zero = f64::try_from(router.f_abs().and_then(|router| router.f_max()).ok()?).ok()? == 0.0;
    let told = "the router is zero: all experts tie and the first are chosen, and experts that start equal get equal gradients; a router \
                std above 0, a bias or jitter in training tells them apart";
    zero.then(|| told.into())
}

/// Routers whose rows, made from data, are nearly the same direction, as the manifest has them.
fn degenerate_routers(upcycled: &Checkpoint) -> Option<String> {
    let text = std::fs::read_to_string(upcycled.folder.join(MANIFEST)).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    let told = manifest.get("made")?.as_object()?.iter().filter_map(|(name, note)| Some((name, note.as_str()?)));
    let mut told = told.filter(|(_, note)| note.contains("condition number")).map(|(name, note)| format!("{name}: {note}"));
    let first = told.next()?;
    let more = told.count();
    Some(if more == 0 { first } else { format!("{first} (and {more} more routers)") })
}

/// What learns first beside a shared expert that does all the work.
fn start_note(moe: &MoeConfig) -> Option<String> {
    let from_zero = moe.upcycling.as_ref()?.get("shared_start")? == "zero";
    let told = "routed experts start with a down projection of zeros: in the first step it alone gets a gradient, the router and the other \
                matrices from the second on";
    from_zero.then(|| told.into())
}

/// What a gate means for the router's training or for exactness.
fn gate_note(moe: &MoeConfig, claim: Option<&Preservation>) -> Option<String> {
    let (name, k) = (moe.gate.name(), moe.experts_per_token);
    match moe.gate {
        gate if gate.is_constant_at_one() && k == 1 => Some(format!(
            "gate {name} with K = 1: the weight is the constant 1, so the router gets no gradient; softmax_topk_st gives it one"
        )),
        gate if gate.is_expert_choice() => Some(format!(
            "gate {name}: experts choose among all tokens at hand, later ones too, so it is not causal; generate and score refuse it \
             unless asked"
        )),
        Gate::SoftmaxTopk if claim == Some(&Preservation::Exact) => None,
        Gate::SoftmaxTopk
            if moe.upcycling.as_ref().is_some_and(|from| from.get("method").is_some_and(|method| method == "virtual_group")) =>
        {
            Some(format!("gate {name}: the parts are scaled for a uniform router, E G^2 / K; any other leaves an error"))
        }
        Gate::SoftmaxTopk if k < moe.num_experts => {
            Some(format!("gate {name}: the weights of the chosen experts sum to less than 1, which scales every converted MLP down"))
        }
        _ => None,
    }
}
