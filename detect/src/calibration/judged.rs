//! What a calibrator is worth on responses it has not seen.

use serde::{Deserialize, Serialize};

use super::Thresholds;
use crate::metrics::{self, Bin, Binning, Groups, Interval, MetricError, Ranking, brier, ece_with, reliability_bins, resample_groups};
use crate::verdict::Decision;

/// Bins of equal numbers of responses in which the calibration error is measured.
const BINS: usize = 10;

/// The verdicts of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many responses got it.
    pub responses: usize,
    /// How many of them are wrong.
    pub wrong: usize,
}

/// Figures on the judged part; intervals are percentile bootstrap over groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Responses judged.
    pub n: usize,
    /// Groups they fall into.
    pub groups: usize,
    /// Responses of the judged part that lack the score; they are left to review.
    pub missing: usize,
    /// Share wrong.
    pub base_rate: f64,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Area under the ROC curve of the probabilities; `None` with one class only.
    pub auroc: Option<Interval>,
    /// Expected calibration error, ten bins of equal numbers; interval [centred](metrics::Resampled::centred) on the estimate.
    pub ece: Interval,
    /// Brier score.
    pub brier: Interval,
    /// The reliability diagram in the same bins.
    pub reliability: Vec<Bin>,
    /// Accepted by the thresholds.
    pub accepted: Share,
    /// Left to a person, those without the score not counted.
    pub reviewed: Share,
    /// Flagged.
    pub flagged: Share,
}

/// How finely to judge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resampling {
    pub(super) resamples: usize,
    pub(super) confidence: f64,
    pub(super) seed: u64,
}

impl Judged {
    /// Judges probabilities of responses in groups; `missing` are further ones without the score.
    pub(super) fn new(
        probabilities: &[f64],
        wrong: &[bool],
        groups: &Groups,
        missing: usize,
        thresholds: &Thresholds,
        resampling: Resampling,
    ) -> Result<Self, MetricError> {
        let [auroc, ece, brier] = intervals(probabilities, wrong, groups, resampling)?;
        let share = |decision: Decision| share(probabilities, wrong, |p| thresholds.decide(p) == decision);
        Ok(Self {
            n: wrong.len(),
            groups: groups.len(),
            missing,
            base_rate: metrics::base_rate(wrong)?,
            confidence: resampling.confidence,
            auroc: auroc.ok(),
            ece: ece?,
            brier: brier?,
            reliability: reliability_bins(probabilities, wrong, BINS, Binning::EqualMass)?,
            accepted: share(Decision::Accept),
            reviewed: share(Decision::Review),
            flagged: share(Decision::Flag),
        })
    }
}

/// AUROC, calibration error and Brier score.
fn intervals(
    probabilities: &[f64],
    wrong: &[bool],
    groups: &Groups,
    resampling: Resampling,
) -> Result<[Result<Interval, MetricError>; 3], MetricError> {
    let ranking = Ranking::new(probabilities, wrong);
    let statistics = |drawn: &[usize]| {
        let (p, w): (Vec<f64>, Vec<bool>) = drawn.iter().map(|&item| (probabilities[item], wrong[item])).unzip();
        let auroc = metrics::auroc_of(&ranking.blocks(drawn.iter().copied()));
        [auroc, ece_with(&p, &w, BINS, Binning::EqualMass), brier(&p, &w)].map(Result::ok)
    };
    let Resampling { resamples, confidence, seed } = resampling;
    let [auroc, ece, brier] = resample_groups(groups, resamples, seed, statistics)?;
    let auroc = auroc.and_then(|auroc| auroc.percentile(confidence));
    let within = |interval: Interval| Interval { low: interval.low.max(0.0), high: interval.high.min(1.0), ..interval };
    Ok([auroc, ece?.centred(confidence).map(within), brier?.percentile(confidence)])
}

fn share(probabilities: &[f64], wrong: &[bool], has: impl Fn(f64) -> bool) -> Share {
    let of = probabilities.iter().zip(wrong).filter(|&(&p, _)| has(p));
    of.fold(Share::default(), |sum, (_, &wrong)| Share { responses: sum.responses + 1, wrong: sum.wrong + usize::from(wrong) })
}
