//! The configurations of candle's networks, family by family. Defaults are those of transformers' configuration classes.

use candle_transformers::models::{bert, debertav2, modernbert, xlm_roberta};
use serde_json::Value;

use super::{Common, Refuse};
use crate::encoder::EncoderError;

pub(super) fn bert(common: &Common, refuse: &Refuse<'_>) -> Result<bert::Config, EncoderError> {
    absolute(common, refuse)?;
    let hidden_act = match activation(common, refuse)? {
        Activation::Gelu => bert::HiddenAct::Gelu,
        Activation::GeluTanh => bert::HiddenAct::GeluApproximate,
        Activation::Relu => bert::HiddenAct::Relu,
    };
    Ok(bert::Config {
        vocab_size: common.vocab_size,
        hidden_size: common.hidden_size,
        num_hidden_layers: common.num_hidden_layers,
        num_attention_heads: common.num_attention_heads,
        intermediate_size: common.intermediate_size,
        hidden_act,
        max_position_embeddings: common.max_position_embeddings,
        type_vocab_size: common.type_vocab_size.unwrap_or(2),
        layer_norm_eps: common.layer_norm_eps.unwrap_or(1e-12),
        pad_token_id: common.pad_token_id.unwrap_or(0) as usize,
        ..bert::Config::default()
    })
}

pub(super) fn roberta(common: &Common, refuse: &Refuse<'_>) -> Result<xlm_roberta::Config, EncoderError> {
    absolute(common, refuse)?;
    let hidden_act = match activation(common, refuse)? {
        Activation::Gelu => candle_nn::Activation::Gelu,
        Activation::GeluTanh => candle_nn::Activation::NewGelu,
        Activation::Relu => candle_nn::Activation::Relu,
    };
    Ok(xlm_roberta::Config {
        hidden_size: common.hidden_size,
        layer_norm_eps: common.layer_norm_eps.unwrap_or(1e-12),
        attention_probs_dropout_prob: 0.0,
        hidden_dropout_prob: 0.0,
        num_attention_heads: common.num_attention_heads,
        position_embedding_type: "absolute".to_owned(),
        intermediate_size: common.intermediate_size,
        hidden_act,
        num_hidden_layers: common.num_hidden_layers,
        vocab_size: common.vocab_size,
        max_position_embeddings: common.max_position_embeddings,
        type_vocab_size: common.type_vocab_size.unwrap_or(1),
        pad_token_id: common.pad_token_id.unwrap_or(1),
    })
}

pub(super) fn deberta(json: &Value, common: &Common, refuse: &Refuse<'_>) -> Result<debertav2::Config, EncoderError> {
    refuse.unless("conv_kernel_size", &number(json, "conv_kernel_size").unwrap_or(0).to_string(), &["0"])?;
    refuse.unless("z_steps", &number(json, "z_steps").unwrap_or(0).to_string(), &["0", "1"])?;
    let hidden_size = common.hidden_size.to_string();
    refuse.unless(
        "embedding_size",
        &number(json, "embedding_size").map_or(hidden_size.clone(), |size| size.to_string()),
        &[&hidden_size],
    )?;
    let hidden_act = match activation(common, refuse)? {
        Activation::Gelu => debertav2::HiddenAct::Gelu,
        Activation::GeluTanh => debertav2::HiddenAct::GeluApproximate,
        Activation::Relu => debertav2::HiddenAct::Relu,
    };
    let flag = |key: &str, default: bool| json[key].as_bool().unwrap_or(default);
    Ok(debertav2::Config {
        vocab_size: common.vocab_size,
        hidden_size: common.hidden_size,
        num_hidden_layers: common.num_hidden_layers,
        num_attention_heads: common.num_attention_heads,
        intermediate_size: common.intermediate_size,
        hidden_act,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        max_position_embeddings: common.max_position_embeddings,
        type_vocab_size: common.type_vocab_size.unwrap_or(0),
        initializer_range: 0.0,
        layer_norm_eps: common.layer_norm_eps.unwrap_or(1e-7),
        relative_attention: flag("relative_attention", false),
        max_relative_positions: number(json, "max_relative_positions").unwrap_or(-1) as isize,
        pad_token_id: Some(common.pad_token_id.unwrap_or(0) as usize),
        position_biased_input: flag("position_biased_input", true),
        pos_att_type: words(&json["pos_att_type"]),
        position_buckets: number(json, "position_buckets").map(|buckets| buckets as isize),
        share_att_key: json["share_att_key"].as_bool(),
        attention_head_size: number(json, "attention_head_size").map(|size| size as usize),
        embedding_size: None,
        norm_rel_ebd: Some(words(&json["norm_rel_ebd"]).join("|")),
        conv_kernel_size: None,
        conv_groups: None,
        conv_act: None,
        id2label: None,
        label2id: None,
        pooler_dropout: None,
        pooler_hidden_act: None,
        pooler_hidden_size: None,
        cls_dropout: None,
    })
}

pub(super) fn modernbert(json: &Value, common: &Common, refuse: &Refuse<'_>) -> Result<modernbert::Config, EncoderError> {
    refuse.unless("hidden_activation", json["hidden_activation"].as_str().unwrap_or("gelu"), &["gelu"])?;
    for key in ["attention_bias", "mlp_bias", "norm_bias"] {
        refuse.unless(key, &json[key].as_bool().unwrap_or(false).to_string(), &["false"])?;
    }
    let global_rope_theta = rope_theta(json, "full_attention", refuse)?.or_else(|| json["global_rope_theta"].as_f64()).unwrap_or(160_000.0);
    let local_rope_theta = rope_theta(json, "sliding_attention", refuse)?.or_else(|| json["local_rope_theta"].as_f64());
    let absent = if json.get("local_rope_theta").is_some() { global_rope_theta } else { 10_000.0 };
    Ok(modernbert::Config {
        vocab_size: common.vocab_size,
        hidden_size: common.hidden_size,
        num_hidden_layers: common.num_hidden_layers,
        num_attention_heads: common.num_attention_heads,
        intermediate_size: common.intermediate_size,
        max_position_embeddings: common.max_position_embeddings,
        layer_norm_eps: json["norm_eps"].as_f64().unwrap_or(1e-5),
        pad_token_id: common.pad_token_id.unwrap_or(0),
        global_attn_every_n_layers: global_every(json, refuse)?,
        global_rope_theta,
        local_attention: number(json, "local_attention").unwrap_or(128) as usize,
        local_rope_theta: local_rope_theta.unwrap_or(absent),
        classifier_config: None,
    })
}

/// The base of the rotary embedding as transformers 5 writes it; a scaled one is refused.
fn rope_theta(json: &Value, kind: &str, refuse: &Refuse<'_>) -> Result<Option<f64>, EncoderError> {
    let parameters = &json["rope_parameters"][kind];
    refuse.unless("rope_type", parameters["rope_type"].as_str().unwrap_or("default"), &["default"])?;
    Ok(parameters["rope_theta"].as_f64())
}

/// Every how many layers attention is global, from the first; transformers 5 lists the layers as well.
fn global_every(json: &Value, refuse: &Refuse<'_>) -> Result<usize, EncoderError> {
    let layers = words(&json["layer_types"]);
    let next = layers.iter().skip(1).position(|layer| layer == "full_attention").map_or(layers.len().max(1), |place| place + 1);
    let every = number(json, "global_attn_every_n_layers").map_or(if layers.is_empty() { 3 } else { next }, |every| every.max(0) as usize);
    let periodic = layers.iter().enumerate().all(|(index, layer)| (layer == "full_attention") == (every > 0 && index % every == 0));
    if every > 0 && periodic {
        Ok(every)
    } else {
        Err(refuse.setting("layer_types", &layers.join(", "), "full_attention every n layers, from the first"))
    }
}

fn absolute(common: &Common, refuse: &Refuse<'_>) -> Result<(), EncoderError> {
    refuse.unless("position_embedding_type", common.position_embedding_type.as_deref().unwrap_or("absolute"), &["absolute"])
}

enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

fn activation(common: &Common, refuse: &Refuse<'_>) -> Result<Activation, EncoderError> {
    match common.hidden_act.as_deref().unwrap_or("gelu") {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(refuse.setting("hidden_act", other, "gelu, gelu_new, gelu_pytorch_tanh, relu")),
    }
}

fn number(json: &Value, key: &str) -> Option<i64> {
    json[key].as_i64()
}

/// A list of words, or one text that parts them by `|`.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split('|').map(|word| word.trim().to_owned()).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
