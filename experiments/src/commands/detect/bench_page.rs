//! A benchmark as a page: curves and a table that can be sorted.

use std::path::Path;

use anyhow::{Context, Result};
use coppice_detect::bench::{Bench, Row, mean_ranks};
use coppice_models::fs::write_atomic;
use coppice_reports::data::{Curve2d, Interval, Point, ScoreResult};
use coppice_reports::{Report, render_detection_html};

/// Writes `folder/index.html`.
pub(super) fn write(folder: &Path, found: &[(&Path, Bench)]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(write_atomic(folder.join("index.html"), render_detection_html(&report(found))?.as_bytes())?)
}

fn report(found: &[(&Path, Bench)]) -> Report {
    let rows = || found.iter().flat_map(|(input, bench)| bench.rows.iter().map(|row| (name(input), row)));
    Report {
        title: "Hallucination scores compared".into(),
        summary: summary(found),
        scores: rows().map(|(arm, row)| result(arm, row)).collect(),
        roc: rows().map(|(arm, row)| curve(arm, row, &row.roc)).collect(),
        risk_coverage: rows().map(|(arm, row)| curve(arm, row, &row.risk_coverage)).collect(),
        notes: found.iter().flat_map(|(input, bench)| skipped(&name(input), bench)).collect(),
        ..Report::default()
    }
}

/// What an input is called: its file's name without extension.
fn name(input: &Path) -> String {
    input.file_stem().map_or_else(|| input.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

fn summary(found: &[(&Path, Bench)]) -> Vec<String> {
    let of = |(input, bench): &(&Path, Bench)| {
        let best = bench.best_single_pass().map_or(String::new(), |row| {
            format!(
                " Best score of one pass: {}, AUROC {:.3} [{:.3}, {:.3}].",
                row.score, row.auroc.estimate, row.auroc.low, row.auroc.high
            )
        });
        format!("{}: {} labelled answers, {:.1} % of them wrong.{best}", name(input), bench.n, bench.base_rate * 100.0)
    };
    let benches: Vec<&Bench> = found.iter().map(|(_, bench)| bench).collect();
    let ranked: Vec<String> = mean_ranks(&benches).iter().take(5).map(|rank| format!("{} {:.1}", rank.score, rank.mean_rank)).collect();
    let ranks = (found.len() > 1).then(|| format!("Lowest mean ranks over the inputs: {}.", ranked.join(", ")));
    found.iter().map(of).chain(ranks).collect()
}

fn skipped(input: &str, bench: &Bench) -> Vec<String> {
    bench.skipped.iter().map(|(score, reason)| format!("{input}, {score}: {reason}")).collect()
}

fn result(arm: String, row: &Row) -> ScoreResult {
    ScoreResult {
        arm,
        score: row.score.clone(),
        auroc: Some(row.auroc.estimate),
        auroc_interval: Some(Interval { low: row.auroc.low, high: row.auroc.high }),
        auc_pr: Some(row.auc_pr.estimate),
        base_rate: Some(row.base_rate),
        prr: Some(row.prr.estimate),
        ece: row.ece.map(|ece| ece.estimate),
        brier: row.brier.map(|brier| brier.estimate),
        cost: row.cost.to_string(),
    }
}

fn curve(arm: String, row: &Row, points: &[(f64, f64)]) -> Curve2d {
    Curve2d { arm, score: row.score.clone(), points: points.iter().map(|&(x, y)| Point { x, y }).collect() }
}
