//! Which of a classifier's outputs stands for which relation, from the names in its configuration.

use std::collections::BTreeMap;

use serde_json::Value;

use super::EncoderError;
use super::config::{Config, FILE};
use super::folder::Folder;
use crate::entailment::Judgement;

/// Places of the relations among the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Labels {
    /// Three relations.
    Three { entailment: usize, neutral: usize, contradiction: usize },
    /// Entailment or not.
    Two { entailment: usize },
}

impl Labels {
    /// Reads `id2label`: the names of the relations in any order and case.
    pub(super) fn read(folder: &Folder, config: &Config) -> Result<Self, EncoderError> {
        let ids: BTreeMap<usize, String> = serde_json::from_value(config.json["id2label"].clone()).unwrap_or_default();
        let names: Vec<String> =
            ids.values().map(|name| name.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase()).collect();
        let numbered = ids.keys().copied().eq(0..ids.len());
        let place = |spellings: &[&str]| names.iter().position(|name| spellings.contains(&name.as_str()));
        let entailment = place(&["entailment", "entail", "entails"]);
        let (neutral, contradiction) = (place(&["neutral"]), place(&["contradiction", "contradict", "contradicts"]));
        let not = place(&["notentailment", "nonentailment", "notentail"]);
        match (numbered, names.len(), entailment, neutral, contradiction, not) {
            (true, 3, Some(entailment), Some(neutral), Some(contradiction), _) => Ok(Self::Three { entailment, neutral, contradiction }),
            (true, 2, Some(entailment), _, _, Some(_)) => Ok(Self::Two { entailment }),
            _ => Err(EncoderError::Labels { path: folder.file(FILE), found: shown(&config.json["id2label"]) }),
        }
    }

    pub(super) fn count(self) -> usize {
        if matches!(self, Self::Three { .. }) { 3 } else { 2 }
    }

    /// Softmax of logits in the model's order, in `f64`; what a model of two labels does not call entailment is neutral. `None` unless the
    /// logits are finite and as many as there are labels.
    pub(super) fn judgement(self, logits: &[f32]) -> Option<Judgement> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let masses: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
        let total: f64 = masses.iter().sum();
        let probability = |place: usize| masses.get(place).map(|mass| mass / total).filter(|p| p.is_finite());
        if logits.len() != self.count() {
            return None;
        }
        Some(match self {
            Self::Three { entailment, neutral, contradiction } => Judgement {
                entailment: probability(entailment)?,
                neutral: probability(neutral)?,
                contradiction: probability(contradiction)?,
            },
            Self::Two { entailment } => {
                let entailment = probability(entailment)?;
                Judgement { entailment, neutral: 1.0 - entailment, contradiction: 0.0 }
            }
        })
    }
}

fn shown(labels: &Value) -> String {
    let names = labels.as_object().map(|labels| labels.values().map(|name| name.as_str().unwrap_or("?")).collect::<Vec<_>>().join(", "));
    names.filter(|names| !names.is_empty()).unwrap_or_else(|| "nothing".to_owned())
}
