//! Which tensors a configuration asks for: names, shapes, and which of them a file may leave out.
//!
//! Names are transformers' for `StableLmForCausalLM`; a converted layer has `mlp.gate.weight [N, D]` and
//! `mlp.experts.{e}.{gate,up,down}_proj.weight` instead of its dense projections, and where the model has them
//! `mlp.gate.e_score_correction_bias [N]`, `mlp.shared_expert.*` and `mlp.shared_expert_gate.weight [1, D]`. One matrix of all experts
//! comes before the next matrix, so that `[N, F, D]` is one stretch of the file and can be mapped as it lies.

use crate::config::{Config, MoeConfig};

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Full name in the file.
    pub name: String,
    /// Shape, outermost dimension first.
    pub shape: Vec<i64>,
    /// Whether a file may leave it out (LayerNorm biases, the head of a tied model).
    pub optional: bool,
}

impl TensorSpec {
    fn new(name: String, shape: &[i64], optional: bool) -> Self {
        Self { name, shape: shape.to_vec(), optional }
    }

    /// Number of elements.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Every tensor of a model, in the order a file is best read: embedding, layers, final norm, head.
pub fn expected(config: &Config) -> Vec<TensorSpec> {
    let (v, d) = (config.vocab_size, config.hidden_size);
    let mut specs = vec![TensorSpec::new("model.embed_tokens.weight".into(), &[v, d], false)];
    for layer in 0..config.num_hidden_layers {
        specs.extend(layer_tensors(config, layer));
    }
    specs.extend(norm("model.norm", d));
    specs.push(TensorSpec::new("lm_head.weight".into(), &[v, d], config.tie_word_embeddings));
    specs
}

/// The tensors of layer `index`.
pub fn layer_tensors(config: &Config, index: usize) -> Vec<TensorSpec> {
    let prefix = format!("model.layers.{index}");
    let d = config.hidden_size;
    let mut specs = norm(&format!("{prefix}.input_layernorm"), d).to_vec();
    if !config.use_parallel_residual {
        specs.extend(norm(&format!("{prefix}.post_attention_layernorm"), d));
    }
    specs.extend(attention(config, &format!("{prefix}.self_attn")));
    match config.moe_layer(index) {
        Some(moe) => specs.extend(experts(d, moe, &format!("{prefix}.mlp"))),
        None => specs.extend(mlp(d, config.intermediate_size, &format!("{prefix}.mlp"))),
    }
    specs
}

/// Published files disagree about the bias, so it may always be left out.
fn norm(name: &str, width: i64) -> [TensorSpec; 2] {
    [TensorSpec::new(format!("{name}.weight"), &[width], false), TensorSpec::new(format!("{name}.bias"), &[width], true)]
}

fn attention(config: &Config, prefix: &str) -> Vec<TensorSpec> {
    let (d, head) = (config.hidden_size, config.head_dim());
    let (q, kv) = (config.num_attention_heads, config.num_key_value_heads);
    let mut specs = Vec::new();
    for (name, heads) in [("q", q), ("k", kv), ("v", kv)] {
        specs.push(TensorSpec::new(format!("{prefix}.{name}_proj.weight"), &[heads * head, d], false));
        if config.use_qkv_bias {
            specs.push(TensorSpec::new(format!("{prefix}.{name}_proj.bias"), &[heads * head], false));
        }
    }
    specs.push(TensorSpec::new(format!("{prefix}.o_proj.weight"), &[d, q * head], false));
    for (name, heads) in [("q", q), ("k", kv)].into_iter().filter(|_| config.qk_layernorm) {
        specs.extend((0..heads).map(|h| TensorSpec::new(format!("{prefix}.{name}_layernorm.norms.{h}.weight"), &[head], false)));
    }
    specs
}

fn mlp(d: i64, f: i64, prefix: &str) -> Vec<TensorSpec> {
    projections(d, f).iter().map(|(name, shape)| TensorSpec::new(format!("{prefix}.{name}.weight"), shape, false)).collect()
}

fn projections(d: i64, f: i64) -> [(&'static str, [i64; 2]); 3] {
    [("gate_proj", [f, d]), ("up_proj", [f, d]), ("down_proj", [d, f])]
}

fn experts(d: i64, moe: &MoeConfig, prefix: &str) -> Vec<TensorSpec> {
    let mut specs = vec![TensorSpec::new(format!("{prefix}.gate.weight"), &[moe.num_experts, d], false)];
    if moe.router_bias {
        specs.push(TensorSpec::new(format!("{prefix}.gate.e_score_correction_bias"), &[moe.num_experts], false));
    }
    for (name, shape) in projections(d, moe.expert_intermediate_size) {
        let named = |expert| TensorSpec::new(format!("{prefix}.experts.{expert}.{name}.weight"), &shape, false);
        specs.extend((0..moe.num_experts).map(named));
    }
    if let Some(shared) = &moe.shared_expert {
        specs.extend(mlp(d, shared.intermediate_size, &format!("{prefix}.shared_expert")));
        let gate = || TensorSpec::new(format!("{prefix}.shared_expert_gate.weight"), &[1, d], false);
        specs.extend(shared.gated.then(gate));
    }
    specs
}

/// Names old exports carry that hold nothing to load (buffers recomputed from the configuration).
pub fn is_buffer(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attention.bias")
}
