//! `config.json` in the dialects of transformers 4 and 5, checked and turned into the configurations of candle's networks.
//!
//! candle's own reader takes fewer dialects, and its networks skip or panic on what they lack: biases of ModernBERT, the convolution of
//! DeBERTa-v2 extra large, head counts that do not divide. All of that is refused here.

mod families;

use candle_transformers::models::{bert, debertav2, modernbert, xlm_roberta};
use serde::Deserialize;
use serde_json::Value;

use super::EncoderError;
use super::folder::Folder;

pub(super) const FILE: &str = "config.json";
const FAMILIES: &str = "bert, roberta, xlm-roberta, deberta-v2 and modernbert";
/// Outside these bounds it is no model but a broken file; tables of that many rows are made.
const MIN_POSITIONS: usize = 16;
const MAX_POSITIONS: usize = 1 << 20;

/// A network of candle's with its configuration.
#[derive(Debug, Clone)]
pub(super) enum Network {
    Bert(bert::Config),
    Roberta(xlm_roberta::Config),
    DebertaV2(Box<debertav2::Config>),
    ModernBert(modernbert::Config),
}

/// What every family says.
#[derive(Debug, Clone, Deserialize)]
struct Common {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    pad_token_id: Option<u32>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

/// What is read of a configuration.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) network: Network,
    pub(super) hidden_size: usize,
    pub(super) pad: u32,
    /// Tokens a text may have.
    pub(super) max_length: usize,
    /// Whether the second text of a pair is told apart by token types.
    pub(super) typed: bool,
    pub(super) layer_norm_eps: f64,
    /// The file itself, for what only heads read.
    pub(super) json: Value,
}

impl Config {
    pub(super) fn read(folder: &Folder) -> Result<Self, EncoderError> {
        let json: Value = folder.json(FILE)?;
        let refuse = Refuse(folder);
        let family = json["model_type"].as_str().unwrap_or("absent");
        if !["bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert"].contains(&family) {
            return Err(refuse.setting("model_type", family, FAMILIES));
        }
        let common: Common = serde_json::from_value(json.clone()).map_err(|error| folder.broken(FILE, error))?;
        refuse.sizes(&common)?;
        refuse.unless("is_decoder", &json["is_decoder"].as_bool().unwrap_or(false).to_string(), &["false"])?;
        let network = network(&json, &common, &refuse)?;
        Ok(Self {
            max_length: max_length(&network, &common),
            pad: common.pad_token_id.unwrap_or(0),
            typed: matches!(network, Network::Bert(_) | Network::DebertaV2(_)) && common.type_vocab_size.unwrap_or(0) > 1,
            layer_norm_eps: common.layer_norm_eps.or_else(|| json["norm_eps"].as_f64()).unwrap_or(1e-5),
            hidden_size: common.hidden_size,
            network,
            json,
        })
    }
}

fn network(json: &Value, common: &Common, refuse: &Refuse<'_>) -> Result<Network, EncoderError> {
    Ok(match common.model_type.as_str() {
        "bert" => Network::Bert(families::bert(common, refuse)?),
        "modernbert" => Network::ModernBert(families::modernbert(json, common, refuse)?),
        "deberta-v2" => Network::DebertaV2(Box::new(families::deberta(json, common, refuse)?)),
        _ => Network::Roberta(families::roberta(common, refuse)?),
    })
}

/// RoBERTa's first position is the one after that of padding.
fn max_length(network: &Network, common: &Common) -> usize {
    match network {
        Network::Roberta(config) => common.max_position_embeddings.saturating_sub(config.pad_token_id as usize + 1),
        _ => common.max_position_embeddings,
    }
}

/// Names what a configuration asks for that is not computed here.
struct Refuse<'a>(&'a Folder);

impl Refuse<'_> {
    fn setting(&self, key: &'static str, found: &str, supported: &str) -> EncoderError {
        EncoderError::Unsupported { path: self.0.file(FILE), key, found: found.to_owned(), supported: supported.to_owned() }
    }

    fn unless(&self, key: &'static str, found: &str, supported: &[&str]) -> Result<(), EncoderError> {
        if supported.contains(&found) { Ok(()) } else { Err(self.setting(key, found, &supported.join(", "))) }
    }

    fn sizes(&self, common: &Common) -> Result<(), EncoderError> {
        let (hidden, heads) = (common.hidden_size, common.num_attention_heads);
        if heads == 0 || hidden == 0 || !hidden.is_multiple_of(heads) || !(hidden / heads).is_multiple_of(2) {
            return Err(self.setting(
                "num_attention_heads",
                &heads.to_string(),
                &format!("a divisor of hidden_size ({hidden}) by an even number"),
            ));
        }
        if !(MIN_POSITIONS..=MAX_POSITIONS).contains(&common.max_position_embeddings) {
            let supported = format!("{MIN_POSITIONS} to {MAX_POSITIONS}");
            return Err(self.setting("max_position_embeddings", &common.max_position_embeddings.to_string(), &supported));
        }
        Ok(())
    }
}
