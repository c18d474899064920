//! A model's parameters by name: packed as they are trained, and expanded as they are stored.

use tch::Tensor;

use crate::model::{FeedForward, LayerNorm, Linear, Mlp, Model};
use crate::moe::Shared;

/// A parameter as the optimizer sees it: experts and per-head norms are one packed tensor each.
#[derive(Debug)]
pub struct Parameter {
    /// Name in a file; for packed tensors with `{}` where each part's index goes.
    pub name: String,
    /// The tensor itself (shares storage with the model).
    pub tensor: Tensor,
    /// Whether the first dimension counts parts that are stored apart.
    pub packed: bool,
    /// Index of the first part: not 0 where this process holds a later part of spread experts.
    pub first: usize,
    /// Whether gradients train it; a router's balancing bias is stored and moved by counts alone.
    pub trained: bool,
}

impl Parameter {
    /// The tensors as a file holds them: name and value, sharing storage.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn stored(&self) -> crate::Result<Vec<(String, Tensor)>> {
        if !self.packed {
            return Ok(vec![(self.name.clone(), self.tensor.shallow_clone())]);
        }
        let parts = 0..self.tensor.size()[0];
        parts.map(|part| Ok((self.name.replace("{}", &(self.first as i64 + part).to_string()), self.tensor.f_get(part)?))).collect()
    }
}

impl Model {
    /// Every parameter once (a tied head is the embedding), in file order, those that no gradient trains among them.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = Collector(Vec::new());
        all.plain("model.embed_tokens.weight", &self.embed_tokens);
        for (index, layer) in self.layers.iter().enumerate() {
            let prefix = format!("model.layers.{index}");
            all.norm(&format!("{prefix}.input_layernorm"), &layer.input_layernorm);
            if let Some(norm) = &layer.post_attention_layernorm {
                all.norm(&format!("{prefix}.post_attention_layernorm"), norm);
            }
            all.attention(&format!("{prefix}.self_attn"), &layer.self_attn);
            all.feed_forward(&format!("{prefix}.mlp"), &layer.mlp);
        }
        all.norm("model.norm", &self.norm);
        if !self.config.tie_word_embeddings {
            all.plain("lm_head.weight", &self.lm_head);
        }
        all.0
    }
}

struct Collector(Vec<Parameter>);

impl Collector {
    fn plain(&mut self, name: &str, tensor: &Tensor) {
        self.0.push(Parameter { name: name.to_owned(), tensor: tensor.shallow_clone(), packed: false, first: 0, trained: true });
    }

    fn packed(&mut self, name: String, tensor: &Tensor, first: usize) {
        self.0.push(Parameter { name, tensor: tensor.shallow_clone(), packed: true, first, trained: true });
    }

    fn linear(&mut self, name: &str, linear: &Linear) {
        self.plain(&format!("{name}.weight"), &linear.weight);
        if let Some(bias) = &linear.bias {
            self.plain(&format!("{name}.bias"), bias);
        }
    }

    fn norm(&mut self, name: &str, norm: &LayerNorm) {
        self.plain(&format!("{name}.weight"), &norm.weight);
        if let Some(bias) = &norm.bias {
            self.plain(&format!("{name}.bias"), bias);
        }
    }

    fn attention(&mut self, prefix: &str, attention: &crate::attention::Attention) {
        self.linear(&format!("{prefix}.q_proj"), &attention.q_proj);
        self.linear(&format!("{prefix}.k_proj"), &attention.k_proj);
        self.linear(&format!("{prefix}.v_proj"), &attention.v_proj);
        self.linear(&format!("{prefix}.o_proj"), &attention.o_proj);
        if let Some((q, k)) = &attention.head_norms {
            self.packed(format!("{prefix}.q_layernorm.norms.{{}}.weight"), &q.weight, 0);
            self.packed(format!("{prefix}.k_layernorm.norms.{{}}.weight"), &k.weight, 0);
        }
    }

    fn bias(&mut self, name: &str, bias: Option<&Tensor>) {
        let parameter =
            |bias: &Tensor| Parameter { name: name.to_owned(), tensor: bias.shallow_clone(), packed: false, first: 0, trained: false };
        self.0.extend(bias.map(parameter));
    }

    fn mlp(&mut self, prefix: &str, mlp: &Mlp) {
        self.linear(&format!("{prefix}.gate_proj"), &mlp.gate_proj);
        self.linear(&format!("{prefix}.up_proj"), &mlp.up_proj);
        self.linear(&format!("{prefix}.down_proj"), &mlp.down_proj);
    }

    fn shared(&mut self, prefix: &str, shared: &Shared) {
        self.mlp(&format!("{prefix}.shared_expert"), &shared.mlp);
        if let Some(gate) = &shared.gate {
            self.plain(&format!("{prefix}.shared_expert_gate.weight"), gate);
        }
    }

    fn feed_forward(&mut self, prefix: &str, mlp: &FeedForward) {
        match mlp {
            FeedForward::Dense(mlp) => self.mlp(prefix, mlp),
            FeedForward::Moe(moe) => {
                self.plain(&format!("{prefix}.gate.weight"), &moe.router.weight);
                let first = moe.parallel.as_ref().map_or(0, |parallel| parallel.first() as usize);
                self.bias(&format!("{prefix}.gate.e_score_correction_bias"), moe.router.bias.as_ref());
                self.packed(format!("{prefix}.experts.{{}}.gate_proj.weight"), &moe.gate_proj, first);
                self.packed(format!("{prefix}.experts.{{}}.up_proj.weight"), &moe.up_proj, first);
                self.packed(format!("{prefix}.experts.{{}}.down_proj.weight"), &moe.down_proj, first);
                if let Some(shared) = &moe.shared {
                    self.shared(prefix, shared);
                }
            }
        }
    }
}
