//! What a run will take: parameters, memory by kind, operations and tokens, before anything is loaded.

use coppice_models::Config;
use coppice_models::flops::{Account, Setting};
use serde::Serialize;
use tch::Kind;

use super::error::{Result, TrainError};
use super::losses::chunk_rows;
use super::recipe::TrainConfig;

// T tokens of a micro-batch, D hidden, F MLP width, H query heads, C key/value heads, d head size, K chosen experts, V vocabulary.

/// Matrices of one expert: gate, up and down.
const MATRICES: i64 = 3;

/// Bytes that one process holds in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Memory {
    /// Parameters in the type the model computes in.
    pub weights: f64,
    /// One gradient a parameter.
    pub gradients: f64,
    /// Moments, and the master copy where there is one.
    pub optimizer: f64,
    /// What the forward pass of a micro-batch leaves for the backward pass, and the backward pass of one layer: an estimate.
    pub activations: f64,
}

/// What a run will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Parameters in all.
    pub parameters: u64,
    /// Parameters that one token meets.
    pub active_parameters: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Predicted tokens of one step.
    pub tokens_per_step: u64,
    /// Predicted tokens of the run.
    pub tokens: u64,
    /// Floating-point operations of the run's forward and backward passes.
    pub training_flops: f64,
    /// Memory of one process.
    pub memory: Memory,
}

impl Memory {
    /// All kinds together.
    pub fn total(&self) -> f64 {
        self.weights + self.gradients + self.optimizer + self.activations
    }
}

impl Plan {
    /// The plan of a model of `config` trained as `train` says, by `ranks` processes.
    ///
    /// # Errors
    /// When sizes overflow, or the recipe names a layer that the model does not have.
    pub fn new(config: &Config, train: &TrainConfig, ranks: usize) -> Result<Self> {
        let setting = Setting { context: train.sequence_length as u64, ..Setting::default() };
        let account = Account::new(config, setting)?;
        let tokens = train.steps * train.tokens_per_step();
        Ok(Self {
            parameters: account.parameters,
            active_parameters: account.active_parameters,
            steps: train.steps,
            tokens_per_step: train.tokens_per_step(),
            tokens,
            training_flops: account.training_flops * tokens as f64,
            memory: memory(config, train, account.parameters, ranks)?,
        })
    }
}

fn memory(config: &Config, train: &TrainConfig, parameters: u64, ranks: usize) -> Result<Memory> {
    let held = held_parameters(config, parameters, train.parallel.experts.min(ranks));
    let micro_batches = (train.batch() / ranks.max(1)).div_ceil(train.micro_batch().max(1));
    let size = |kind: Kind| kind.elt_size_in_bytes() as f64;
    let master = if train.precision.has_master() { size(Kind::Float) } else { 0.0 };
    Ok(Memory {
        weights: held * size(train.precision.parameters()),
        gradients: held * size(train.precision.gradients(micro_batches)),
        optimizer: held * (2.0 * size(train.precision.moments()) + master),
        activations: activations(config, train)?,
    })
}

/// Parameters of one process where experts are spread over `spread` of them.
fn held_parameters(config: &Config, parameters: u64, spread: usize) -> f64 {
    let experts = config.moe.as_ref().map_or(0.0, |moe| {
        let each = MATRICES * config.hidden_size * moe.expert_intermediate_size;
        (each * moe.num_experts) as f64 * moe.layers.len() as f64
    });
    parameters as f64 - experts * (1.0 - 1.0 / spread.max(1) as f64)
}

/// Every layer's own, the backward pass of the largest, and a chunk of logits in f32 and in the model's type.
fn activations(config: &Config, train: &TrainConfig) -> Result<f64> {
    let again = train.recompute.resolve(config.num_hidden_layers).map_err(|error| TrainError::Recipe(format!("recompute: {error}")))?;
    let tokens = (train.micro_batch() * train.sequence_length) as f64;
    let size = train.precision.parameters().elt_size_in_bytes() as f64;
    let input = config.hidden_size as f64;
    let layers: Vec<f64> = (0..config.num_hidden_layers).map(|layer| numbers_per_token(config, layer)).collect();
    let kept: f64 = layers.iter().zip(&again).map(|(&all, &again)| if again { input } else { all }).sum();
    let largest = layers.iter().copied().fold(0.0, f64::max);
    let rows = (chunk_rows(config.vocab_size) as f64).min(tokens);
    let logits = rows * config.vocab_size as f64 * (4.0 + size);
    Ok(tokens * size * (kept + largest) + logits)
}

/// Numbers that a layer keeps of a token: its input, both normed inputs, queries, keys, values and the output of attention, the stream
/// between, and of the MLP (each chosen expert's) both projections, the activation and the product; a routed layer also the rows it gathers
/// and gives back.
fn numbers_per_token(config: &Config, layer: usize) -> f64 {
    let (hidden, head) = (config.hidden_size, config.head_dim());
    let attention = 4 * hidden + 2 * (config.num_attention_heads + config.num_key_value_heads) * head;
    let mlp = match config.moe_layer(layer) {
        None => 4 * config.intermediate_size,
        Some(moe) => {
            let shared = moe.shared_expert.as_ref().map_or(0, |shared| 4 * shared.intermediate_size);
            moe.experts_per_token * (2 * hidden + 4 * moe.expert_intermediate_size) + shared
        }
    };
    (attention + mlp) as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// StableLM 2 1.6B, upcycled to eight experts in all layers.
    fn upcycled() -> Config {
        let config = Config::from_json(&json!({
            "model_type": "stablelm_moe", "vocab_size": 100_352, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
            "num_attention_heads": 32, "max_position_embeddings": 4096, "use_qkv_bias": true,
            "num_experts": 8, "num_experts_per_tok": 2, "moe_layers": (0..24).collect::<Vec<_>>(), "moe_intermediate_size": 5632, "gate": "topk_softmax",
        }));
        config.unwrap()
    }

    fn recipe(rest: &str) -> TrainConfig {
        toml::from_str(&format!("steps = 10\nsequence_length = 4096\nbatch_size = 8\n{rest}\nschedule = {{ peak = 1e-3 }}\n")).unwrap()
    }

    fn gib(bytes: f64) -> f64 {
        bytes / f64::from(1 << 30)
    }

    #[test]
    fn state_is_sixteen_bytes_a_parameter_with_a_master_copy() {
        // 7.458 B parameters: 111.1 GiB.
        let state = |rest: &str| {
            let Memory { weights, gradients, optimizer, .. } = Plan::new(&upcycled(), &recipe(rest), 1).unwrap().memory;
            gib(weights + gradients + optimizer)
        };
        for rest in ["precision = \"f32\"", "precision = \"bf16_master\""] {
            assert!((state(rest) - 111.1).abs() < 0.1, "{rest}: {}", state(rest));
        }
        assert!((state("precision = \"bf16\"") - 55.6).abs() < 0.1);
        // Sums of several micro-batches are f32.
        assert!((state("precision = \"bf16_master\"\nmicro_batch_size = 2") - 125.0).abs() < 0.1);
    }

    #[test]
    fn experts_spread_over_ranks_and_recomputing_saves_activations() {
        let plan = |rest: &str, ranks| Plan::new(&upcycled(), &recipe(rest), ranks).unwrap();
        let (one, eight) = (plan("", 1), plan("parallel = { experts = 8 }", 8));
        // 6.643 B parameters are experts'.
        let saved = (one.memory.weights - eight.memory.weights) / 4.0;
        assert!((saved / 1e9 - 6.643 * 7.0 / 8.0).abs() < 0.01, "{saved}");
        let kept = plan("micro_batch_size = 1", 1).memory.activations;
        let again = plan("micro_batch_size = 1\nrecompute = \"all\"", 1).memory.activations;
        assert!(again < kept / 5.0, "{again} {kept}");
    }
}
