//! One score on the labelled records: its values, what stood in their way, and the row of metrics.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::held_out::HeldOut;
use super::{BenchSettings, Row};
use crate::metrics::{self, Interval, MetricError, Ranking};
use crate::record::Record;
use crate::scores::{Case, Missing, Scorer};
use crate::setup::Setup;
use crate::verdict::finite_score;

/// A score with whether the record is wrong, or what the record lacks.
type Outcome = Result<(f64, bool), Missing>;

/// The values of a score on the records that have what it needs.
pub(super) struct Measured {
    scores: Vec<f64>,
    wrong: Vec<bool>,
    /// What the other records lack, and how many of them.
    lacks: BTreeMap<String, usize>,
}

impl Measured {
    /// Computes the scores, records in parallel. Those of one record share its comparisons, so that a model runs once for all of them.
    pub(super) fn all(scorers: &[&dyn Scorer], labelled: &[(&Record, bool)], setup: &Setup) -> Vec<Self> {
        let of_record = |&(record, wrong): &(&Record, bool)| {
            let case = Case::with(record, setup);
            scorers.iter().map(|scorer| finite_score(*scorer, &case).map(|score| (score, wrong))).collect()
        };
        let computed: Vec<Vec<Outcome>> = labelled.par_iter().map(of_record).collect();
        (0..scorers.len()).map(|place| Self::new(computed.iter().map(|outcomes| &outcomes[place]))).collect()
    }

    fn new<'a>(computed: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut measured = Self { scores: Vec::new(), wrong: Vec::new(), lacks: BTreeMap::new() };
        for outcome in computed {
            match outcome {
                Ok((score, wrong)) => {
                    measured.scores.push(*score);
                    measured.wrong.push(*wrong);
                }
                Err(missing) => *measured.lacks.entry(missing.to_string()).or_default() += 1,
            }
        }
        measured
    }

    /// The metrics of the score, with intervals.
    pub(super) fn row(&self, scorer: &dyn Scorer, settings: &BenchSettings) -> Result<Row, MetricError> {
        let (scores, wrong) = (&self.scores, &self.wrong);
        let [auroc, auc_pr, prr, prr_half] = self.ranking_intervals(settings)?;
        let calibrated = HeldOut::new(scores, wrong, settings.seed).and_then(|held_out| held_out.intervals(settings));
        Ok(Row {
            score: scorer.name().to_owned(),
            single_pass: scorer.single_pass(),
            cost: scorer.card().cost,
            n: scores.len(),
            missing: self.lacks.values().sum(),
            lacks: self.lacks.clone(),
            auroc: auroc?,
            auroc_delong: metrics::delong_interval(scores, wrong, settings.confidence).ok(),
            p_value: metrics::mann_whitney(scores, wrong)?,
            p_adjusted: 1.0,
            auc_pr: auc_pr?,
            base_rate: metrics::base_rate(wrong)?,
            prr: prr?,
            prr_half: prr_half.ok(),
            aurc: metrics::aurc(scores, wrong)?,
            excess_aurc: metrics::excess_aurc(scores, wrong)?,
            ece: calibrated.map(|(ece, _)| ece),
            brier: calibrated.map(|(_, brier)| brier),
            roc: metrics::roc_curve(scores, wrong)?,
            risk_coverage: metrics::risk_coverage_curve(scores, wrong)?,
        })
    }

    /// AUROC, AUC-PR, PRR and PRR up to one half. The scores are sorted once; a resample is counted into their blocks of ties.
    fn ranking_intervals(&self, settings: &BenchSettings) -> Result<[Result<Interval, MetricError>; 4], MetricError> {
        metrics::check_classes(&self.scores, &self.wrong)?;
        let ranking = Ranking::new(&self.scores, &self.wrong);
        let statistics = |drawn: &[usize]| {
            let blocks = ranking.blocks(drawn.iter().copied());
            let prr = |max_rejection| metrics::prr_of(&blocks, max_rejection);
            [metrics::auroc_of(&blocks), metrics::average_precision_of(&blocks), prr(1.0), prr(0.5)].map(Result::ok)
        };
        let resampled = metrics::resample(self.scores.len(), settings.resamples, settings.seed, statistics)?;
        Ok(resampled.map(|statistic| statistic?.percentile(settings.confidence)))
    }

    /// Why the score has no row, with what the records lack.
    pub(super) fn reason(&self, error: &MetricError) -> String {
        let lacking: Vec<String> = self.lacks.iter().map(|(what, records)| format!("{records} lack {what}")).collect();
        match (lacking.is_empty(), self.scores.is_empty()) {
            (true, _) => error.to_string(),
            (false, true) => format!("no labelled record has what it needs: {}", lacking.join(", ")),
            (false, false) => format!("{error}; of the labelled records, {}", lacking.join(", ")),
        }
    }
}
