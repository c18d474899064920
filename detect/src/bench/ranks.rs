//! Which score does best over several inputs: models, data sets. Ranks, since AUROCs of easy and of hard data do not average to anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Bench;

/// A score over several benchmarks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanRank {
    /// The score.
    pub score: String,
    /// Mean of its ranks by AUROC, 1 = best; equal AUROCs share the mean of their ranks.
    pub mean_rank: f64,
    /// Its AUROC in every benchmark with rows, in their order.
    pub auroc: Vec<f64>,
}

/// Ranks, best first, of the scores that have a row in every benchmark that has any, among these.
pub fn mean_ranks(benches: &[&Bench]) -> Vec<MeanRank> {
    let benches: Vec<&&Bench> = benches.iter().filter(|bench| !bench.rows.is_empty()).collect();
    let mut aurocs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in benches.iter().flat_map(|bench| &bench.rows) {
        aurocs.entry(&row.score).or_default().push(row.auroc.estimate);
    }
    aurocs.retain(|_, found| found.len() == benches.len());
    let rank = |column: usize, own: f64| {
        let better = aurocs.values().filter(|other| other[column] > own).count();
        let equal = aurocs.values().filter(|other| other[column] == own).count();
        better as f64 + (equal as f64 + 1.0) / 2.0
    };
    let mean = |found: &[f64]| found.iter().enumerate().map(|(column, &own)| rank(column, own)).sum::<f64>() / benches.len() as f64;
    let mut ranks: Vec<MeanRank> =
        aurocs.iter().map(|(score, found)| MeanRank { score: (*score).to_owned(), mean_rank: mean(found), auroc: found.clone() }).collect();
    ranks.sort_by(|a, b| a.mean_rank.total_cmp(&b.mean_rank));
    ranks
}
