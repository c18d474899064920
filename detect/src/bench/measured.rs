//! One score on the labelled records: its values, what stood in their way, and the row of metrics.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::held_out::HeldOut;
use super::{BenchSettings, Row};
use crate::metrics::{self, Interval, MetricError, Ranking};
use crate::record::Record;
use crate::scores::{Case, Scorer};
use crate::verdict::finite_score;

/// The values of a score on the records that have what it needs.
pub(super) struct Measured {
    scores: Vec<f64>,
    wrong: Vec<bool>,
    /// What the other records lack, and how many of them.
    lacks: BTreeMap<String, usize>,
}

impl Measured {
    /// Computes the score, records in parallel.
    pub(super) fn new(scorer: &dyn Scorer, labelled: &[(&Record, bool)]) -> Self {
        let score = |&(record, wrong): &(&Record, bool)| finite_score(scorer, &Case::new(record)).map(|score| (score, wrong));
        let computed: Vec<_> = labelled.par_iter().map(score).collect();
        let mut lacks = BTreeMap::new();
        computed.iter().filter_map(|result| result.as_ref().err()).for_each(|missing| *lacks.entry(missing.to_string()).or_default() += 1);
        let (scores, wrong) = computed.into_iter().flatten().unzip();
        Self { scores, wrong, lacks }
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
