//! Arms of an experiment: what each model costs, what it scored per seed, how it differs from its control.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::number::null_as_nan;

/// What part an arm plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The dense model every arm starts from.
    Base,
    /// The dense model trained on, matched to the upcycled arms.
    Control,
    /// An upcycled model.
    #[default]
    Upcycled,
    /// A routed model trained from a random start on the same tokens.
    FromScratch,
}

/// One model of the comparison. Costs are of inference, for one token, under the report's conventions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arm {
    /// The arm's name in the recipe; other parts of the report refer to it.
    pub name: String,
    /// The name shown to readers; the plain name where empty.
    pub label: String,
    /// Control, base, upcycled or from scratch.
    pub role: Role,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Number of parameters one token uses.
    pub active_parameters: Option<u64>,
    /// FLOPs per token.
    pub flops_per_token: Option<f64>,
    /// Bytes read from memory per token.
    pub bytes_per_token: Option<f64>,
    /// Measured milliseconds per token, one sequence alone.
    pub latency_ms: Option<f64>,
    /// Measured milliseconds per token of eight sequences decoded side by side.
    pub latency_batch8_ms: Option<f64>,
    /// Energy of generating a thousand tokens, Wh, overhead of the building included.
    pub wh_per_1000_tokens: Option<f64>,
    /// What each seed scored.
    pub seeds: Vec<SeedResult>,
    /// Confidence intervals of the mean over seeds (three seeds or more).
    pub intervals: BTreeMap<Measure, Interval>,
}

/// What one seed of an arm scored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// Mean negative log-likelihood on the validation set, nats per token.
    pub validation_loss: Option<f64>,
    /// Share of the questions answered correctly.
    pub facts_known: Option<f64>,
    /// Share of the questions answered with a made-up answer.
    pub made_up: Option<f64>,
    /// AUROC of the best hallucination score.
    pub best_auroc: Option<f64>,
    /// The name of that score.
    pub best_score: Option<String>,
}

/// A quantity every seed is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Share of the questions answered correctly.
    #[default]
    FactsKnown,
    /// Nats per token on the validation set.
    ValidationLoss,
    /// Share of the questions answered with a made-up answer.
    MadeUp,
    /// AUROC of the best hallucination score.
    BestAuroc,
}

/// A closed interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    #[serde(deserialize_with = "null_as_nan")]
    pub low: f64,
    /// Upper end.
    #[serde(deserialize_with = "null_as_nan")]
    pub high: f64,
}

/// The difference of an arm from its control, over the same questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// The arm's name.
    pub arm: String,
    /// The control's name.
    pub control: String,
    /// What is compared.
    pub measure: Measure,
    /// Arm minus control, in the measure's unit.
    pub difference: Option<f64>,
    /// Paired bootstrap interval of the difference.
    pub interval: Option<Interval>,
    /// The interval's confidence, 0.95 for 95 %.
    pub confidence: Option<f64>,
    /// Number of paired questions.
    pub questions: Option<u64>,
}

/// Mean and range of a measure over an arm's seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean over seeds.
    pub mean: f64,
    /// Smallest seed.
    pub low: f64,
    /// Largest seed.
    pub high: f64,
    /// Number of seeds with a finite value.
    pub seeds: usize,
}

impl Measure {
    /// Every measure, in the order tables show them.
    pub const ALL: [Self; 4] = [Self::FactsKnown, Self::MadeUp, Self::ValidationLoss, Self::BestAuroc];

    /// The seed's value; `None` where it is missing or not finite.
    #[must_use]
    pub fn of(self, seed: &SeedResult) -> Option<f64> {
        let value = match self {
            Self::FactsKnown => seed.facts_known,
            Self::ValidationLoss => seed.validation_loss,
            Self::MadeUp => seed.made_up,
            Self::BestAuroc => seed.best_auroc,
        };
        value.filter(|v| v.is_finite())
    }

    /// The measure's name in a heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::FactsKnown => "Facts known",
            Self::ValidationLoss => "Validation loss",
            Self::MadeUp => "Made up",
            Self::BestAuroc => "Best AUROC",
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn higher_is_better(self) -> bool {
        matches!(self, Self::FactsKnown | Self::BestAuroc)
    }

    /// Whether the measure is a share, shown in percent.
    #[must_use]
    pub const fn is_share(self) -> bool {
        matches!(self, Self::FactsKnown | Self::MadeUp)
    }
}

impl Arm {
    /// The name to show: the label, or the plain name where there is none.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.label.is_empty() { &self.name } else { &self.label }
    }

    /// Mean and range of `measure` over the seeds that have it; `None` where none has.
    #[must_use]
    pub fn spread(&self, measure: Measure) -> Option<Spread> {
        let values: Vec<f64> = self.seeds.iter().filter_map(|seed| measure.of(seed)).collect();
        if values.is_empty() {
            return None;
        }
        Some(Spread {
            mean: values.iter().map(|v| v / values.len() as f64).sum(),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            seeds: values.len(),
        })
    }
}

impl Interval {
    /// Whether both ends are finite and in order.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.low.is_finite() && self.high.is_finite() && self.low <= self.high
    }
}
