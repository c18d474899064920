//! The names of NeoX for the parameters of a StableLM 2.
//!
//! A NeoX model is a sequence of modules: 0 the embedding, 1 a function, 2 to `L + 1` the layers, `L + 2` a function, `L + 3` the final
//! norm, `L + 4` the head.

use coppice_models::Config;

/// Which part of a parameter in the file is the one that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Queries (0), keys (1) or values (2) of rows that lie as `[heads, 3, head_dim]`.
    Heads(i64),
}

/// What a name in a file starts with and says nothing: wrappers of DeepSpeed and NeoX.
pub(super) fn bare(name: &str) -> &str {
    ["module.", "sequential."].iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

/// NeoX's name, [`bare`], of a parameter, and which part of it is meant; none where NeoX has no such parameter.
pub(super) fn neox(config: &Config, name: &str) -> Option<(String, Part)> {
    let layers = config.num_hidden_layers;
    if let Some(rest) = name.strip_prefix("model.norm.") {
        return Some((format!("{}.norm.{rest}", layers + 3), Part::Whole));
    }
    match name {
        "model.embed_tokens.weight" => Some(("0.word_embeddings.weight".into(), Part::Whole)),
        "lm_head.weight" => Some((format!("{}.final_linear.weight", layers + 4), Part::Whole)),
        _ => {
            let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
            let (rest, part) = in_layer(rest)?;
            Some((format!("{}.{rest}", layer.parse::<usize>().ok()? + 2), part))
        }
    }
}

/// Module by module.
fn in_layer(name: &str) -> Option<(String, Part)> {
    let (module, tensor) = name.rsplit_once('.')?;
    let (module, part) = match module {
        "input_layernorm" | "post_attention_layernorm" => (module, Part::Whole),
        "self_attn.q_proj" => ("attention.query_key_value", Part::Heads(0)),
        "self_attn.k_proj" => ("attention.query_key_value", Part::Heads(1)),
        "self_attn.v_proj" => ("attention.query_key_value", Part::Heads(2)),
        "self_attn.o_proj" => ("attention.dense", Part::Whole),
        "mlp.gate_proj" => ("mlp.w1", Part::Whole),
        "mlp.up_proj" => ("mlp.w3", Part::Whole),
        "mlp.down_proj" => ("mlp.w2", Part::Whole),
        _ => return None,
    };
    Some((format!("{module}.{tensor}"), part))
}
