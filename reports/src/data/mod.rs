//! What a run hands over: plain serde structs, the payload of `results.json`.
//!
//! Every part may be missing. A measurement that was not taken is `None` (`null` in JSON), never zero; a
//! measurement that came out non-finite becomes `null` when written and is read back as missing. Shares are
//! between 0 and 1, logarithms natural, times as their names say.

mod arms;
mod detection;
mod detector;
mod experts;
mod knowledge;
mod methods;
mod number;
mod training;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use arms::{Arm, Comparison, Interval, Measure, Role, SeedResult, Spread};
pub use detection::{Curve2d, Flagged, Point, ScoreResult, Token};
pub use detector::{Calibrated, Coverage, Detector, DetectorGroup, DetectorScore, Guarantee, ReliabilityBin};
pub use experts::{DomainShare, ExpertReport, ExpertTrend, LayerExperts, TokenShare, TrendPoint, Vocabulary};
pub(crate) use experts::{evenness, mean, off_diagonal};
pub use knowledge::Knowledge;
pub use methods::{MethodResult, MethodSeed};
pub use training::{Curve, CurvePoint, ExpertLoad};

/// One experiment, whole: what was asked, what came out, and how to do it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The experiment's name, the page's heading.
    pub title: String,
    /// The question the experiment asks, one sentence.
    pub question: String,
    /// The answer, a few sentences; the first one is the headline.
    pub summary: Vec<String>,
    /// How FLOPs and bytes were counted (phase, context length, batch, what a multiply-accumulate costs).
    pub conventions: String,
    /// The resolved recipe, as TOML.
    pub recipe_toml: String,
    /// Versions, git hash, hardware, seed: name to value.
    pub environment: BTreeMap<String, String>,
    /// The commands that reproduce the run, in order.
    pub reproduce: Vec<String>,
    /// The run's stages in the order they ran.
    pub stages: Vec<Stage>,
    /// What the run asserted about itself, passed or not.
    pub checks: Vec<Check>,
    /// The models compared.
    pub arms: Vec<Arm>,
    /// Paired differences between an arm and its control.
    pub comparisons: Vec<Comparison>,
    /// What each pair of arms comes to on the same items, a sentence a pair.
    pub verdicts: Vec<String>,
    /// Loss over the course of training, one entry per arm, seed and phase.
    pub curves: Vec<Curve>,
    /// How the routers spread tokens over experts, one entry per arm and seed.
    pub expert_load: Vec<ExpertLoad>,
    /// What the experts became, one entry per arm and seed.
    pub experts: Vec<ExpertReport>,
    /// Ways to make a routed model, side by side, one entry per arm and data set.
    pub methods: Vec<MethodResult>,
    /// What each arm knows, by how often it was told.
    pub knowledge: Vec<Knowledge>,
    /// Quality of every hallucination score on every arm.
    pub scores: Vec<ScoreResult>,
    /// ROC curves: x the false positive rate, y the true positive rate.
    pub roc: Vec<Curve2d>,
    /// Risk–coverage curves: x the coverage, y the share of wrong answers among those covered.
    pub risk_coverage: Vec<Curve2d>,
    /// All scores and the calibrated verdict on one model's answers.
    pub detector: Option<Detector>,
    /// The answers that looked most made up.
    pub flagged: Vec<Flagged>,
    /// Remarks on how to read the figures.
    pub notes: Vec<String>,
    /// What the experiment does not show.
    pub limits: Vec<String>,
}

/// One stage of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// The stage's name.
    pub name: String,
    /// Wall-clock seconds it took when it ran.
    pub seconds: Option<f64>,
    /// Whether an earlier result was reused.
    pub cached: bool,
}

/// Something the run asserts about its own results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// What is asserted, a sentence or a name.
    pub name: String,
    /// What was expected, in words: `≥ 0.85 × ln(pool)`.
    pub expected: String,
    /// What was found, in words.
    pub found: String,
    /// Whether the assertion holds.
    pub passed: bool,
}
