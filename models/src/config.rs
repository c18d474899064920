//! What a StableLM 2 is: sizes and switches, read from `config.json` in any of its three dialects.
//!
//! The dialects are `stablelm_epoch` (`norm_eps`, `rope_pct`), `stablelm` (`layer_norm_eps`, `partial_rotary_factor`,
//! `rope_theta`) and transformers v5 (`rope_parameters`). `stablelm_moe` is the last of these with routed experts. Reference:
//! transformers `models/stablelm/configuration_stablelm.py`; Stable LM 2 1.6B Technical Report, arXiv 2402.17834.

mod moe;

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::moe::{Gate, MoeConfig, SharedExpert};
use crate::error::{Error, Result};

/// Sizes and switches of a StableLM 2 model, dense or mixture of experts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Rows of the embedding, padding included.
    pub vocab_size: i64,
    /// `D`, the width of the residual stream.
    pub hidden_size: i64,
    /// `F`, the width of the gated MLP.
    pub intermediate_size: i64,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// `H`, query heads.
    pub num_attention_heads: i64,
    /// Key and value heads (fewer than `H` = grouped-query attention).
    pub num_key_value_heads: i64,
    /// Longest context in tokens.
    pub max_position_embeddings: i64,
    /// Share of each head that is rotated.
    pub partial_rotary_factor: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f64,
    /// Whether the layers' LayerNorms have a bias; an opened checkpoint says what its file holds.
    pub layer_norm_bias: bool,
    /// Bias on the query, key and value projections (1.6B).
    pub use_qkv_bias: bool,
    /// Per-head LayerNorm on queries and keys before the rotation (12B).
    pub qk_layernorm: bool,
    /// Attention and MLP read one LayerNorm and are added together (12B).
    pub use_parallel_residual: bool,
    /// The head shares the embedding's matrix.
    pub tie_word_embeddings: bool,
    /// Beginning-of-sequence id, where there is one.
    pub bos_token_id: Option<i64>,
    /// Ids that end a text.
    pub eos_token_ids: Vec<i64>,
    /// Routed experts, or none for a dense model.
    pub moe: Option<MoeConfig>,
}

impl Config {
    /// Reads `config.json` of a checkpoint folder.
    ///
    /// # Errors
    /// Names the file and the key that is absent, malformed, unsupported or out of range.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let value = serde_json::from_str(&text).map_err(|error| Error::Config(format!("{}: not JSON ({error})", path.display())))?;
        Self::from_json(&value)
    }

    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    /// Names the key that is absent, malformed, unsupported or out of range.
    pub fn from_json(value: &Value) -> Result<Self> {
        let keys = Keys(value.as_object().ok_or_else(|| Error::Config("config.json does not hold an object".into()))?);
        keys.refuse_foreign()?;
        let heads = keys.size("num_attention_heads")?;
        let config = Self {
            vocab_size: keys.size("vocab_size")?,
            hidden_size: keys.size("hidden_size")?,
            intermediate_size: keys.size("intermediate_size")?,
            num_hidden_layers: keys.size("num_hidden_layers")? as usize,
            num_attention_heads: heads,
            num_key_value_heads: keys.size_or("num_key_value_heads", heads)?,
            max_position_embeddings: keys.size_or("max_position_embeddings", 4096)?,
            partial_rotary_factor: keys.rope("partial_rotary_factor", "rope_pct", 0.25)?,
            rope_theta: keys.rope("rope_theta", "rotary_emb_base", 10_000.0)?,
            layer_norm_eps: keys.number(&["layer_norm_eps", "norm_eps"])?.unwrap_or(1e-5),
            layer_norm_bias: keys.flag("use_norm_bias", true)?,
            use_qkv_bias: keys.flag("use_qkv_bias", false)?,
            qk_layernorm: keys.flag("qk_layernorm", false)?,
            use_parallel_residual: keys.flag("use_parallel_residual", false)?,
            tie_word_embeddings: keys.flag("tie_word_embeddings", false)?,
            bos_token_id: keys.ids("bos_token_id")?.first().copied(),
            eos_token_ids: keys.ids("eos_token_id")?,
            moe: MoeConfig::read(&keys)?,
        };
        config.check()?;
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> i64 {
        self.hidden_size / self.num_attention_heads
    }

    /// Dimensions of each head that are rotated, `int(partial_rotary_factor * head_dim)`.
    pub fn rotary_dim(&self) -> i64 {
        (self.partial_rotary_factor * self.head_dim() as f64) as i64
    }

    /// The experts of layer `index`, where that layer is converted.
    pub fn moe_layer(&self, index: usize) -> Option<&MoeConfig> {
        self.moe.as_ref().filter(|moe| moe.layers.contains(&index))
    }

    /// The `config.json` of this model, in the dialect every reader of `stablelm` knows, `stablelm_moe` where it has experts.
    pub fn to_json(&self, dtype: &str) -> Value {
        let mut value = json!({
            "architectures": ["StableLmForCausalLM"], "model_type": "stablelm", "torch_dtype": dtype, "hidden_act": "silu",
            "vocab_size": self.vocab_size, "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers, "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads, "max_position_embeddings": self.max_position_embeddings,
            "partial_rotary_factor": self.partial_rotary_factor, "rope_theta": self.rope_theta,
            "layer_norm_eps": self.layer_norm_eps, "use_norm_bias": self.layer_norm_bias, "use_qkv_bias": self.use_qkv_bias,
            "qk_layernorm": self.qk_layernorm, "use_parallel_residual": self.use_parallel_residual,
            "tie_word_embeddings": self.tie_word_embeddings, "bos_token_id": self.bos_token_id,
            "eos_token_id": one_or_many(&self.eos_token_ids), "use_cache": true,
        });
        if let (Some(moe), Some(object)) = (&self.moe, value.as_object_mut()) {
            moe.write(object);
        }
        value
    }

    /// Refuses sizes that cannot be a model, before anything is allocated by them.
    ///
    /// # Errors
    /// Names the size and the bound it breaks.
    pub fn check(&self) -> Result<()> {
        let heads = self.num_attention_heads;
        require(self.hidden_size % heads == 0, || {
            format!("hidden_size {} is not a multiple of num_attention_heads {heads}", self.hidden_size)
        })?;
        let kv = self.num_key_value_heads;
        require(kv <= heads && heads % kv == 0, || format!("num_attention_heads {heads} is not a multiple of num_key_value_heads {kv}"))?;
        let factor = self.partial_rotary_factor;
        require((0.0..=1.0).contains(&factor), || format!("partial_rotary_factor {factor} is outside 0 to 1"))?;
        require(self.rotary_dim() % 2 == 0, || {
            format!("the rotated part of a head is odd ({} of {})", self.rotary_dim(), self.head_dim())
        })?;
        require(self.rope_theta.is_finite() && self.rope_theta > 0.0, || format!("rope_theta {} is not positive", self.rope_theta))?;
        let eps = self.layer_norm_eps;
        require(eps.is_finite() && eps > 0.0, || format!("layer_norm_eps {eps} is not positive"))?;
        self.moe.as_ref().map_or(Ok(()), |moe| moe.check(self.num_hidden_layers))
    }
}

fn require(holds: bool, sentence: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(sentence())) }
}

fn one_or_many(ids: &[i64]) -> Value {
    match ids {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    }
}

/// Largest value accepted for any size key; a vocabulary of 16 million is beyond every tokenizer.
const LARGEST: i64 = 1 << 24;
/// Deepest model accepted.
const DEEPEST: i64 = 1024;

/// Look-ups with the dialects' synonyms; `null` counts as absent.
struct Keys<'a>(&'a Map<String, Value>);

impl Keys<'_> {
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Unknown architectures, activations and scaled rotations would run and be silently wrong.
    fn refuse_foreign(&self) -> Result<()> {
        let kind = self.find("model_type").and_then(Value::as_str).unwrap_or("none");
        require(["stablelm", "stablelm_epoch", "stablelm_moe"].contains(&kind), || {
            format!("model_type {kind:?} is not supported (known: stablelm, stablelm_epoch, stablelm_moe)")
        })?;
        let activation = self.find("hidden_act").and_then(Value::as_str).unwrap_or("silu");
        require(activation == "silu", || format!("hidden_act {activation:?} is not supported (known: silu)"))?;
        let factor = self.number(&["rotary_scaling_factor"])?.unwrap_or(1.0);
        require(factor == 1.0, || format!("rotary_scaling_factor {factor} is not supported (known: 1.0)"))?;
        let rope = self.find("rope_parameters").or(self.find("rope_scaling")).and_then(|rope| rope.get("rope_type").or(rope.get("type")));
        let rope = rope.and_then(Value::as_str).unwrap_or("default");
        require(rope == "default", || format!("rope type {rope:?} is not supported (known: default)"))
    }

    fn size(&self, name: &str) -> Result<i64> {
        let value = self.find(name).ok_or_else(|| Error::Config(format!("key {name} is absent")))?;
        let size = value.as_i64().ok_or_else(|| Error::Config(format!("{name} is {value}, expected a whole number")))?;
        let largest = if name == "num_hidden_layers" { DEEPEST } else { LARGEST };
        require((1..=largest).contains(&size), || format!("{name} {size} is outside 1 to {largest}"))?;
        Ok(size)
    }

    fn size_or(&self, name: &str, default: i64) -> Result<i64> {
        self.find(name).map_or(Ok(default), |_| self.size(name))
    }

    fn number(&self, names: &[&str]) -> Result<Option<f64>> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.find(name)?))) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| Error::Config(format!("{name} is {value}, expected a number")))
    }

    /// A rotary setting: v5 keeps it inside `rope_parameters`, the others at the top.
    fn rope(&self, name: &str, old: &str, default: f64) -> Result<f64> {
        let nested = self.find("rope_parameters").and_then(|rope| rope.get(name)).and_then(Value::as_f64);
        Ok(nested.or(self.number(&[name, old])?).unwrap_or(default))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.find(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| Error::Config(format!("{name} is {value}, expected true or false")))
    }

    fn ids(&self, name: &str) -> Result<Vec<i64>> {
        let bad = |value: &Value| Error::Config(format!("{name} is {value}, expected one token id or a list"));
        match self.find(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(|id| id.as_i64().ok_or_else(|| bad(id))).collect(),
            Some(id) => Ok(vec![id.as_i64().ok_or_else(|| bad(id))?]),
        }
    }
}
