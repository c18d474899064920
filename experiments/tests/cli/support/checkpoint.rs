//! A tiny StableLM 2 with random weights, written by the `safetensors` crate.

use std::collections::BTreeMap;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::{Value, json};

/// Names, shapes and values.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The numbers a model's tensors follow from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) kv: usize,
}

/// Those of [`config`].
pub(crate) const SIZES: Sizes = Sizes { vocabulary: 264, hidden: 32, intermediate: 48, layers: 2, kv: 16 };

/// Longest context of [`config`].
pub(crate) const CONTEXT: usize = 64;

/// The `config.json` of [`SIZES`]: four query heads, two key and value heads, untied head.
pub(crate) fn config() -> Value {
    json!({
        "architectures": ["StableLmForCausalLM"], "model_type": "stablelm", "torch_dtype": "float32", "hidden_act": "silu",
        "vocab_size": SIZES.vocabulary, "hidden_size": SIZES.hidden, "intermediate_size": SIZES.intermediate,
        "num_hidden_layers": SIZES.layers, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT, "partial_rotary_factor": 0.25, "rope_theta": 10000.0, "layer_norm_eps": 1e-5,
        "use_qkv_bias": true, "tie_word_embeddings": false, "bos_token_id": 256, "eos_token_id": 256,
    })
}

/// Random weights: uniform within 0.2 of zero, LayerNorm weights within 0.2 of one.
pub(crate) fn tensors(sizes: &Sizes) -> Tensors {
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    let mut fill = |(name, shape): (String, Vec<usize>)| {
        let centre = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        let values = (0..shape.iter().product()).map(|_| centre + rng.random_range(-0.2..0.2)).collect();
        (name, (shape, values))
    };
    shapes(sizes).into_iter().map(&mut fill).collect()
}

fn shapes(sizes: &Sizes) -> Vec<(String, Vec<usize>)> {
    let (v, d) = (sizes.vocabulary, sizes.hidden);
    let mut shapes = vec![("model.embed_tokens.weight".into(), vec![v, d]), ("lm_head.weight".into(), vec![v, d])];
    shapes.extend(norm("model.norm", d));
    for layer in 0..sizes.layers {
        shapes.extend(layer_shapes(&format!("model.layers.{layer}"), sizes));
    }
    shapes
}

fn norm(name: &str, width: usize) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), vec![width]), (format!("{name}.bias"), vec![width])]
}

fn layer_shapes(prefix: &str, sizes: &Sizes) -> Vec<(String, Vec<usize>)> {
    let (d, f, kv) = (sizes.hidden, sizes.intermediate, sizes.kv);
    let mut shapes: Vec<_> =
        ["input_layernorm", "post_attention_layernorm"].iter().flat_map(|n| norm(&format!("{prefix}.{n}"), d)).collect();
    for (name, rows) in [("q", d), ("k", kv), ("v", kv)] {
        shapes.push((format!("{prefix}.self_attn.{name}_proj.weight"), vec![rows, d]));
        shapes.push((format!("{prefix}.self_attn.{name}_proj.bias"), vec![rows]));
    }
    shapes.push((format!("{prefix}.self_attn.o_proj.weight"), vec![d, d]));
    for (name, shape) in [("gate", [f, d]), ("up", [f, d]), ("down", [d, f])] {
        shapes.push((format!("{prefix}.mlp.{name}_proj.weight"), shape.to_vec()));
    }
    shapes
}

/// Writes `config.json` and `model.safetensors` (F32).
pub(crate) fn write_checkpoint(folder: &Path, config: &Value, tensors: &Tensors) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    write_tensors(&folder.join("model.safetensors"), tensors);
}

/// Writes one weights file.
pub(crate) fn write_tensors(path: &Path, tensors: &Tensors) {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let stored: Vec<_> = tensors.iter().map(|(name, (shape, values))| (name, shape, bytes(values))).collect();
    let views = stored.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}
