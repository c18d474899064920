//! One score on the labelled records: its values, what stood in their way, and the row of metrics.

use std::collections::BTreeMap;

use super::columns::Cell;
use super::held_out::HeldOut;
use super::{BenchSettings, Row};
use crate::metrics::{self, Groups, Interval, MetricError, Ranking};
use crate::scores::Scorer;

/// The values of a score on the records that have what it needs.
pub(super) struct Measured {
    pub(super) scores: Vec<f64>,
    pub(super) wrong: Vec<bool>,
    /// Which of the labelled records, rising.
    pub(super) items: Vec<usize>,
    /// What the other records lack, and how many of them.
    lacks: BTreeMap<String, usize>,
    seconds: f64,
    /// Sum over those records; `None` where one does not tell.
    extra_tokens: Option<usize>,
}

impl Measured {
    /// Gathers a column of scores and labels.
    pub(super) fn new<'a>(column: impl Iterator<Item = (&'a Cell, bool)>) -> Self {
        let (scores, wrong, items, lacks) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        let mut found = Self { scores, wrong, items, lacks, seconds: 0.0, extra_tokens: Some(0) };
        for (item, (cell, wrong)) in column.enumerate() {
            match &cell.score {
                Err(missing) => *found.lacks.entry(missing.to_string()).or_default() += 1,
                Ok(score) => {
                    found.scores.push(*score);
                    found.wrong.push(wrong);
                    found.items.push(item);
                    found.seconds += cell.seconds;
                    found.extra_tokens = found.extra_tokens.zip(cell.extra_tokens).map(|(sum, tokens)| sum + tokens);
                }
            }
        }
        found
    }

    /// The metrics of the score, with intervals over `groups` of the labelled records.
    pub(super) fn row(&self, scorer: &dyn Scorer, groups: &Groups, settings: &BenchSettings) -> Result<Row, MetricError> {
        let (scores, wrong, n) = (&self.scores, &self.wrong, self.scores.len());
        let groups = groups.within(&self.items);
        let [auroc, auc_pr, prr, prr_half] = self.ranking_intervals(&groups, settings)?;
        let calibrated = HeldOut::new(scores, wrong, &groups, settings.seed).and_then(|held_out| held_out.intervals(settings));
        Ok(Row {
            score: scorer.name().to_owned(),
            single_pass: scorer.single_pass(),
            cost: scorer.card().cost,
            microseconds: settings.timed.then_some(1e6 * self.seconds / n as f64),
            extra_tokens: self.extra_tokens.map(|tokens| tokens as f64 / n as f64),
            n,
            missing: self.lacks.values().sum(),
            lacks: self.lacks.clone(),
            auroc: auroc?,
            auroc_delong: metrics::delong_interval(scores, wrong, settings.confidence).ok(),
            p_value: metrics::mann_whitney(scores, wrong)?,
            p_adjusted: 1.0,
            to_best: None,
            to_length: None,
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
    fn ranking_intervals(&self, groups: &Groups, settings: &BenchSettings) -> Result<[Result<Interval, MetricError>; 4], MetricError> {
        metrics::check_classes(&self.scores, &self.wrong)?;
        let ranking = Ranking::new(&self.scores, &self.wrong);
        let statistics = |drawn: &[usize]| {
            let blocks = ranking.blocks(drawn.iter().copied());
            let prr = |max_rejection| metrics::prr_of(&blocks, max_rejection);
            [metrics::auroc_of(&blocks), metrics::average_precision_of(&blocks), prr(1.0), prr(0.5)].map(Result::ok)
        };
        let resampled = metrics::resample_groups(groups, settings.resamples, settings.seed, statistics)?;
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
