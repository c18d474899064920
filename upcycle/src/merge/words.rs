//! What a reader of a merged checkpoint should know: where the mean is no exact inverse, and what was folded in or left out.

use coppice_models::MoeConfig;

use super::manifest::LayerMerge;

/// Notes on a merge of `moe` into `layers`.
pub(super) fn notes(moe: &MoeConfig, layers: &[LayerMerge], by_load: bool) -> Vec<String> {
    let gated = moe.shared_expert.as_ref().is_some_and(|shared| shared.gated);
    let padded = layers.iter().any(|layer| layer.padding > 0);
    let said = |holds: bool, sentence: &str| holds.then(|| sentence.to_owned());
    let notes = [
        expected(moe),
        said(moe.upcycling.is_none(), "config.json does not say how the experts were made: taken for whole copies"),
        left_out(layers),
        said(padded, "narrower layers are padded with zero units"),
        said(gated, "the shared expert's gate is zero: its constant 1/2 is folded into the down projection"),
        said(by_load, "a part that no token of the text reached is averaged with equal weights"),
    ];
    notes.into_iter().flatten().collect()
}

/// Gates whose weights do not sum to 1.
fn expected(moe: &MoeConfig) -> Option<String> {
    let (name, k, n) = (moe.gate.name(), moe.experts_per_token, moe.num_experts);
    let sentence = || {
        format!("gate {name}: a token's weights do not sum to 1; the merged MLP has the weight that a uniform router gives, K/N = {k}/{n}")
    };
    (!moe.gate.sums_to_one()).then(sentence)
}

fn left_out(layers: &[LayerMerge]) -> Option<String> {
    let silent = layers.iter().filter(|layer| layer.shared > 0 && layer.routed == 0).count();
    (silent > 0).then(|| format!("the routed experts of {silent} layers put out zero and are left out"))
}
