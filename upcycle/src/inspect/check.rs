//! What fits together: a routed model, a reference of its shape, a dense parent its experts can have come from.

use coppice_models::{Config, MoeConfig};

use super::Subject;
use crate::convert::options::require;
use crate::convert::{ConvertError, Result};

/// The subject's experts, once all that is compared fits together.
pub(super) fn check_subject<'a>(subject: &Subject<'a>) -> Result<&'a MoeConfig> {
    let config = &subject.model.config;
    let moe = routed(config)?;
    subject.reference.map_or(Ok(()), |reference| check_reference(config, moe, &reference.config))?;
    subject.dense.map_or(Ok(()), |dense| check_parent(config, moe, &dense.config))?;
    Ok(moe)
}

/// The experts of a routed model.
///
/// # Errors
/// For a dense one.
pub fn routed(config: &Config) -> Result<&MoeConfig> {
    config.moe.as_ref().ok_or_else(|| ConvertError::Options("the model is dense, it has no experts".into()))
}

/// Refuses a reference whose choices cannot be held against the model's.
///
/// # Errors
/// Names what differs.
pub fn check_reference(config: &Config, moe: &MoeConfig, reference: &Config) -> Result<()> {
    let other = reference.moe.as_ref().ok_or_else(|| ConvertError::Options("the reference is dense, it has no experts".into()))?;
    let same = |what: &str, own: i64, other: i64| require(own == other, || format!("the reference has {what} {other}, the model {own}"));
    same("vocab_size", config.vocab_size, reference.vocab_size)?;
    same("num_hidden_layers", config.num_hidden_layers as i64, reference.num_hidden_layers as i64)?;
    same("max_position_embeddings", config.max_position_embeddings, reference.max_position_embeddings)?;
    same("num_experts", moe.num_experts, other.num_experts)?;
    same("num_experts_per_tok", moe.experts_per_token, other.experts_per_token)?;
    require(moe.layers == other.layers, || format!("the reference has moe_layers {:?}, the model {:?}", other.layers, moe.layers))
}

/// Refuses a dense checkpoint the experts cannot have come from.
///
/// # Errors
/// Names what differs.
pub fn check_parent(config: &Config, moe: &MoeConfig, dense: &Config) -> Result<()> {
    require(dense.moe.is_none(), || "the dense parent is routed itself, name the model the experts came from".into())?;
    let same = |what: &str, own: i64, other: i64| require(own == other, || format!("the dense parent has {what} {other}, the model {own}"));
    same("hidden_size", config.hidden_size, dense.hidden_size)?;
    same("num_hidden_layers", config.num_hidden_layers as i64, dense.num_hidden_layers as i64)?;
    let (whole, part) = (dense.intermediate_size, moe.expert_intermediate_size);
    require(whole % part == 0, || format!("the dense parent's MLP has {whole} units, experts of {part} are no even parts of it"))
}
