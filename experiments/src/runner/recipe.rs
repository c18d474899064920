//! What an experiment recipe says: a world, a model, how it is trained, the arms that are compared, and how answers are judged.

mod arm;
mod detect;
mod detector;
mod text;

use anyhow::{Result, bail};
use coppice_models::config::Config;
use coppice_upcycle::tokenizer_training::TokenizerSettings;
use coppice_upcycle::train::recipe::TrainConfig;
use coppice_upcycle::world::WorldConfig;
use serde::{Deserialize, Serialize};

pub use self::arm::{ArmRecipe, Branches, UpcycleRecipe};
pub use self::detect::DetectRecipe;
pub use self::detector::DetectorRecipe;
pub use self::text::TextRecipe;

/// A whole experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Folder under `runs/`.
    pub name: String,
    /// Heading of the report.
    pub title: String,
    /// The question the experiment asks.
    pub question: String,
    /// Seeds of the continued training: router initialisation and order of the batches.
    pub seeds: Vec<u64>,
    /// The synthetic world.
    pub world: WorldConfig,
    /// The tokenizer trained on it.
    #[serde(default)]
    pub tokenizer: TokenizerSettings,
    /// Sizes of the dense model.
    pub model: ModelRecipe,
    /// Dense pre-training, shared by all arms and seeds.
    pub pretrain: Phase,
    /// Continued training, the same for every arm.
    #[serde(rename = "continue")]
    pub continued: Phase,
    /// What is compared; the first arm without `upcycle` is the control.
    pub arms: Vec<ArmRecipe>,
    /// Real text on which the arms are compared too.
    #[serde(default)]
    pub text: Option<TextRecipe>,
    /// Whether the report puts all arms side by side, with the jump at step 0 and what became of the experts.
    #[serde(default)]
    pub methods: bool,
    /// How answers are drawn and judged.
    #[serde(default)]
    pub detect: DetectRecipe,
    /// One detector taken through its whole life on the pre-trained model.
    #[serde(default)]
    pub detector: Option<DetectorRecipe>,
}

/// Sizes of a small StableLM 2 with untied head and query, key and value biases; the vocabulary is the tokenizer's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// `D`.
    pub hidden_size: i64,
    /// `F`.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query, key and value heads.
    pub num_attention_heads: i64,
    /// Whether the head is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initialisation.
    #[serde(default = "default_std")]
    pub init_std: f64,
    /// Seed of the initialisation.
    #[serde(default)]
    pub seed: u64,
}

fn default_std() -> f64 {
    0.02
}

/// One phase of training over some of the world's passes, each seen once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How many of the world's passes this phase takes, after those of the phase before it.
    pub passes: usize,
    /// Optimizer, schedule, batch; `steps` left out means once over the phase's tokens.
    pub train: TrainConfig,
}

impl Recipe {
    /// Refuses what cannot be run, before anything is written.
    pub fn check(&self) -> Result<()> {
        self.world.validate()?;
        let passes = self.pretrain.passes + self.continued.passes;
        if passes != self.world.passes || self.pretrain.passes == 0 || self.continued.passes == 0 {
            bail!(
                "pretrain.passes + continue.passes is {passes}, the world has {} passes; each phase needs at least one",
                self.world.passes
            );
        }
        let named = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if let Some(bad) = std::iter::once(&self.name).chain(self.arms.iter().map(|arm| &arm.name)).find(|name| !named(name)) {
            bail!("{bad:?} cannot name a run or an arm: use letters, digits, - and _");
        }
        self.check_arms()?;
        let config = self.config(self.tokenizer.vocab_size as i64, 0)?;
        self.arms.iter().try_for_each(|arm| arm.fits(&config))?;
        self.pretrain.check()?;
        self.continued.check()?;
        self.text.as_ref().map_or(Ok(()), TextRecipe::check)?;
        self.detector.as_ref().map_or(Ok(()), DetectorRecipe::check)?;
        self.detect.check()
    }

    fn check_arms(&self) -> Result<()> {
        let mut names: Vec<_> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) || self.arms.is_empty() || self.seeds.is_empty() {
            bail!("a recipe needs at least one seed and one arm, and every arm a name of its own");
        }
        if self.arms.iter().filter(|arm| arm.upcycle.is_none()).count() != 1 {
            bail!("exactly one arm must be without [arms.upcycle]: the dense control");
        }
        self.arms.iter().try_for_each(ArmRecipe::check)
    }

    /// The dense model's configuration, given the tokenizer's size and end-of-text id.
    pub fn config(&self, vocabulary: i64, end_of_text: i64) -> Result<Config> {
        let config = Config {
            vocab_size: vocabulary,
            hidden_size: self.model.hidden_size,
            intermediate_size: self.model.intermediate_size,
            num_hidden_layers: self.model.num_hidden_layers,
            num_attention_heads: self.model.num_attention_heads,
            num_key_value_heads: self.model.num_attention_heads,
            max_position_embeddings: self.pretrain.train.sequence_length.max(self.continued.train.sequence_length) as i64,
            partial_rotary_factor: 0.25,
            rope_theta: 10_000.0,
            layer_norm_eps: 1e-5,
            layer_norm_bias: true,
            use_qkv_bias: true,
            qk_layernorm: false,
            use_parallel_residual: false,
            tie_word_embeddings: self.model.tie_word_embeddings,
            bos_token_id: Some(end_of_text),
            eos_token_ids: vec![end_of_text],
            moe: None,
        };
        // Read back as a file would be, so that impossible sizes get the same sentence.
        Ok(Config::from_json(&config.to_json("float32"))?)
    }
}

impl Phase {
    /// Steps left out are known only once the tokens are counted, so any number of warm-up steps passes here.
    fn check(&self) -> Result<()> {
        let steps = if self.train.steps == 0 { u64::MAX } else { self.train.steps };
        Ok(TrainConfig { steps, ..self.train.clone() }.check()?)
    }
}
