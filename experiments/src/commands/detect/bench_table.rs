//! A benchmark as a table of text.

use std::collections::BTreeMap;

use coppice_detect::bench::{Bench, MeanRank, Paired, Row};
use coppice_detect::metrics::Interval;

/// The table, a line each.
pub(super) fn table(found: &Bench) -> Vec<String> {
    let head = format!(
        "{:<28} {:>5} {:>22} {:>7} {:>7} {:>7} {:>6} {:>6} {:>7} {:>8} {:>9} {:>7}  cost",
        "score", "n", "AUROC [95 %]", "AUC-PR", "PRR", "E-AURC", "ECE", "Brier", "p best", "p length", "us/record", "tokens"
    );
    let groups = found.groups.map_or(String::new(), |groups| format!(" in {groups} groups"));
    let base = format!("{} labelled answers{groups}, {:.1} % of them wrong (the base rate of AUC-PR)", found.n, found.base_rate * 100.0);
    let how = "p: of no difference in AUROC from the best score and from the length, adjusted for the number of scores (Holm)".to_owned();
    let table = if found.rows.is_empty() { Vec::new() } else { vec![how, head] };
    [base].into_iter().chain(table).chain(found.rows.iter().map(line)).chain(skipped(found)).collect()
}

/// Why scores have no row, a line each reason.
fn skipped(found: &Bench) -> Vec<String> {
    let mut by_reason = BTreeMap::<&str, Vec<&str>>::new();
    found.skipped.iter().for_each(|(score, reason)| by_reason.entry(reason).or_default().push(score));
    by_reason.into_iter().map(|(reason, scores)| format!("no row for {}: {reason}", scores.join(", "))).collect()
}

fn line(row: &Row) -> String {
    let calibrated = |value: Option<Interval>| value.map_or("-".to_owned(), |value| format!("{:.3}", value.estimate));
    let p_value = |paired: &Option<Paired>| paired.as_ref().map_or("-".to_owned(), |paired| format!("{:.3}", paired.p_adjusted));
    let cost = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    format!(
        "{:<28} {:>5} {:>22} {:>7.3} {:>7.3} {:>7.3} {:>6} {:>6} {:>7} {:>8} {:>9} {:>7}  {}",
        row.score,
        row.n,
        format!("{:.3} [{:.3}, {:.3}]", row.auroc.estimate, row.auroc.low, row.auroc.high),
        row.auc_pr.estimate,
        row.prr.estimate,
        row.excess_aurc,
        calibrated(row.ece),
        calibrated(row.brier),
        p_value(&row.to_best),
        p_value(&row.to_length),
        cost(row.microseconds),
        cost(row.extra_tokens),
        row.cost
    )
}

/// The scores by their mean rank, a line each.
pub(super) fn ranks(ranks: &[MeanRank]) -> Vec<String> {
    let line = |rank: &MeanRank| {
        let auroc: Vec<String> = rank.auroc.iter().map(|auroc| format!("{auroc:.3}")).collect();
        format!("{:<28} {:>9.2}  {}", rank.score, rank.mean_rank, auroc.join(" "))
    };
    let head = format!("{:<28} {:>9}  AUROC on each input", "score", "mean rank");
    std::iter::once(head).chain(ranks.iter().map(line)).collect()
}
