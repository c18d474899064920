//! The page's tables: which columns, and what of a report stands in them.

use crate::data::{Arm, Comparison, Interval, Knowledge, Measure, Report, ScoreResult};
use crate::markdown::{measure_text, range};
use crate::plots::BASELINE;
use crate::units::{self, count, fixed, percent, si};

use super::shown;
use super::table::{Cell, Column, Row, Table, number, words};

/// What each arm costs and scored.
pub(super) fn arms(report: &Report) -> Table {
    const COLUMNS: &[Column] = &[
        words("arm"),
        number("parameters", ""),
        number("active", "parameters one token uses"),
        number("FLOPs / token", "inference"),
        number("bytes / token", "read from memory, inference"),
        number("ms / token", "measured, batch 1"),
        number("at batch 8", "ms / token, measured"),
        number("Wh / 1,000", "tokens generated"),
        number("facts known", "mean over seeds (range)"),
        number("made up", "mean over seeds (range)"),
        number("validation loss", "nats per token, mean over seeds (range)"),
        number("best AUROC", "of the hallucination scores, mean over seeds (range)"),
    ];
    let rows = report.arms.iter().map(arm_row).collect();
    Table {
        id: "arms",
        caption: "The arms: inference cost and results, mean over seeds with range",
        columns: COLUMNS.to_vec(),
        rows,
        ..Table::default()
    }
}

fn arm_row(arm: &Arm) -> Row {
    let whole = |value: Option<u64>| Cell::number(count(value), value.map(|v| v as f64));
    let mut cells = vec![
        Cell::words(arm.shown()),
        whole(arm.parameters),
        whole(arm.active_parameters),
        Cell::number(si(arm.flops_per_token), arm.flops_per_token),
        Cell::number(si(arm.bytes_per_token), arm.bytes_per_token),
        Cell::number(fixed(arm.latency_ms, 2), arm.latency_ms),
        Cell::number(fixed(arm.latency_batch8_ms, 2), arm.latency_batch8_ms),
        Cell::number(fixed(arm.wh_per_1000_tokens, 4), arm.wh_per_1000_tokens),
    ];
    cells.extend(Measure::ALL.map(|measure| seeds_cell(arm, measure)));
    Row { class: "", cells }
}

/// The mean over seeds; below it the range, and for the best AUROC which scores were best.
fn seeds_cell(arm: &Arm, measure: Measure) -> Cell {
    let mean = arm.spread(measure).map(|spread| spread.mean);
    let mut best: Vec<&str> = arm.seeds.iter().filter_map(|seed| seed.best_score.as_deref()).collect();
    best.sort_unstable();
    best.dedup();
    best.retain(|_| measure == Measure::BestAuroc);
    let notes: Vec<String> = range(arm, measure).into_iter().chain(best.into_iter().map(str::to_owned)).collect();
    Cell { note: notes.join(", "), ..Cell::number(measure_text(measure, mean), mean) }
}

/// Paired differences to the control.
pub(super) fn differences(report: &Report) -> Table {
    const COLUMNS: &[Column] = &[
        words("arm"),
        words("against"),
        words("measure"),
        number("difference", "arm minus control; of shares in percentage points"),
        number("interval", "paired bootstrap"),
        number("questions", "paired"),
        words("reading"),
    ];
    let rows = report.comparisons.iter().map(|c| difference_row(report, c)).collect();
    Table {
        id: "differences",
        caption: "Differences to the control, paired over questions",
        columns: COLUMNS.to_vec(),
        rows,
        ..Table::default()
    }
}

fn difference_row(report: &Report, c: &Comparison) -> Row {
    let sound = c.interval.filter(Interval::is_valid);
    let interval = ends(c.interval, |value| difference(c.measure, value));
    let confidence = c.confidence.map(|level| format!(" ({})", percent(Some(level)).replace(".0", "")));
    let unit = if c.measure.is_share() { " points" } else { "" };
    let cells = vec![
        Cell::words(shown(report, &c.arm)),
        Cell::words(shown(report, &c.control)),
        Cell::words(&c.measure.title().to_lowercase().replace("auroc", "AUROC")),
        Cell::number(difference(c.measure, c.difference) + unit, c.difference),
        Cell::number(interval + &confidence.unwrap_or_default(), sound.map(|i| i.low)),
        Cell::number(count(c.questions), c.questions.map(|n| n as f64)),
        Cell::words(reading(c.measure, sound)),
    ];
    Row { class: "", cells }
}

/// A signed difference: percentage points for shares.
fn difference(measure: Measure, value: Option<f64>) -> String {
    let (value, digits) = if measure.is_share() { (value.map(|v| v * 100.0), 1) } else { (value, 3) };
    units::signed(fixed(value, digits))
}

/// What an interval says, without more than it says.
fn reading(measure: Measure, interval: Option<Interval>) -> &'static str {
    match interval {
        None => units::MISSING,
        Some(i) if i.low <= 0.0 && i.high >= 0.0 => "no difference shown",
        Some(i) if (i.low > 0.0) == measure.higher_is_better() => "better",
        Some(_) => "worse",
    }
}

/// What the run asserted about itself.
pub(super) fn checks(report: &Report) -> Table {
    const COLUMNS: &[Column] = &[words("check"), words("expected"), words("found"), words("verdict")];
    let row = |check: &crate::data::Check| {
        let (class, verdict) = if check.passed { ("passed", "✓ holds") } else { ("failed", "✗ fails") };
        let cells = [check.name.as_str(), &check.expected, &check.found, verdict].map(Cell::words);
        Row { class, cells: cells.into() }
    };
    let rows = report.checks.iter().map(row).collect();
    Table { id: "checks", caption: "What the run asserts about itself", columns: COLUMNS.to_vec(), rows, ..Table::default() }
}

/// Knowledge by group, planted groups included.
pub(super) fn groups(report: &Report) -> Table {
    const COLUMNS: &[Column] = &[
        words("arm"),
        words("group"),
        number("told", "times in total; 0 = never"),
        number("questions", ""),
        number("correct", ""),
        number("interval", "of the share of correct answers"),
        number("entropy / ln(pool)", "1 = belief spread over the whole pool, 0 = certain"),
    ];
    let rows = report.knowledge.iter().map(|row| group_row(report, row)).collect();
    Table { id: "groups", caption: "What the arms know, by group of people", columns: COLUMNS.to_vec(), rows, ..Table::default() }
}

fn group_row(report: &Report, row: &Knowledge) -> Row {
    let told = row.exposures.map_or(units::MISSING.to_owned(), |n| n.to_string());
    let cells = vec![
        Cell::words(shown(report, &row.arm)),
        Cell::words(&row.group),
        Cell::number(told, row.exposures.map(|n| n as f64)),
        Cell::number(row.questions.to_string(), Some(row.questions as f64)),
        Cell::number(percent(row.correct), row.correct),
        Cell::number(ends(row.interval, percent), row.interval.map(|i| i.low)),
        Cell::number(fixed(row.entropy, 2), row.entropy),
    ];
    Row { class: if row.exposures.is_none() { "planted" } else { "" }, cells }
}

/// The scores' quality.
pub(super) fn scores(report: &Report) -> Table {
    const COLUMNS: &[Column] = &[
        words("arm"),
        words("score"),
        number("AUROC", "0.5 = chance, 1 = perfect"),
        number("interval", "bootstrap, of AUROC"),
        number("AUC-PR", "to be read against the base rate"),
        number("base rate", "share of wrong answers"),
        number("PRR", "prediction rejection ratio: 0 = random, 1 = oracle"),
        number("ECE", "expected calibration error, lower is better"),
        number("Brier", "lower is better"),
        words("cost"),
    ];
    let rows = report.scores.iter().map(|row| score_row(report, row)).collect();
    Table {
        id: "scores",
        caption: "Hallucination scores; wrong answers are the positive class",
        columns: COLUMNS.to_vec(),
        rows,
        ..Table::default()
    }
}

fn score_row(report: &Report, row: &ScoreResult) -> Row {
    let baseline = row.score == BASELINE;
    let name = if baseline { format!("{} (baseline)", row.score) } else { row.score.clone() };
    let three = |value| Cell::number(fixed(value, 3), value);
    let cells = vec![
        Cell::words(shown(report, &row.arm)),
        Cell::words(&name),
        three(row.auroc),
        Cell::number(ends(row.auroc_interval, |v| fixed(v, 3)), row.auroc_interval.map(|i| i.low)),
        three(row.auc_pr),
        Cell::number(percent(row.base_rate), row.base_rate),
        three(row.prr),
        three(row.ece),
        three(row.brier),
        Cell::words(&row.cost),
    ];
    Row { class: if baseline { "baseline" } else { "" }, cells }
}

/// How long the stages took.
pub(super) fn stages(report: &Report) -> Table {
    const COLUMNS: &[Column] = &[words("stage"), number("time", "wall clock"), words("")];
    let row = |stage: &crate::data::Stage| Row {
        class: "",
        cells: vec![
            Cell::words(&stage.name),
            Cell::number(units::duration(stage.seconds), stage.seconds),
            Cell::words(if stage.cached { "reused from an earlier run" } else { "" }),
        ],
    };
    let rows = report.stages.iter().map(row).collect();
    Table { id: "stages", caption: "Stages of the run", columns: COLUMNS.to_vec(), rows, ..Table::default() }
}

/// Both ends of an interval.
fn ends(interval: Option<Interval>, text: impl Fn(Option<f64>) -> String) -> String {
    let sound = interval.filter(Interval::is_valid);
    sound.map_or(units::MISSING.to_owned(), |i| format!("{} to {}", text(Some(i.low)), text(Some(i.high))))
}
