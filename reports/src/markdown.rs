//! A short Markdown table of the arms, for a README or a log.

use crate::data::{Arm, Measure, Report};
use crate::units;

/// One row per arm: its costs and its results, means over seeds with their range in brackets.
///
/// Pipes, line breaks and markup in labels are escaped.
#[must_use]
pub fn arms_table(report: &Report) -> String {
    let head = "| arm | parameters | active | FLOPs / token | bytes / token | ms / token | facts known | made up | validation loss | best AUROC |\n\
                |:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    let rows: String = report.arms.iter().map(row).collect();
    format!("{head}{rows}")
}

/// One arm's row.
fn row(arm: &Arm) -> String {
    let mut cells = vec![
        escape(arm.shown()),
        units::count(arm.parameters),
        units::count(arm.active_parameters),
        units::si(arm.flops_per_token),
        units::si(arm.bytes_per_token),
        units::fixed(arm.latency_ms, 2),
    ];
    cells.extend(Measure::ALL.map(|measure| result(arm, measure)));
    format!("| {} |\n", cells.join(" | "))
}

/// The mean over seeds, with the range behind it where there are several.
fn result(arm: &Arm, measure: Measure) -> String {
    let mean = measure_text(measure, arm.spread(measure).map(|spread| spread.mean));
    range(arm, measure).map_or(mean.clone(), |range| format!("{mean} ({range})"))
}

/// The range over seeds, where there are several.
pub(crate) fn range(arm: &Arm, measure: Measure) -> Option<String> {
    let spread = arm.spread(measure).filter(|spread| spread.seeds > 1)?;
    let [low, high] = [spread.low, spread.high].map(|v| measure_text(measure, Some(v)));
    let low = low.trim_end_matches([units::GAP, '%']);
    Some(format!("{low} to {high}"))
}

/// A value in the measure's unit: percent for shares, three digits otherwise.
pub(crate) fn measure_text(measure: Measure, value: Option<f64>) -> String {
    if measure.is_share() { units::percent(value) } else { units::fixed(value, 3) }
}

/// Escapes what Markdown would take for markup in a table cell.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SeedResult;

    #[test]
    fn a_row_gives_mean_and_range() {
        let seed = |seed, known| SeedResult { seed, facts_known: Some(known), ..SeedResult::default() };
        let arm = Arm {
            name: "top2".into(),
            label: "top-2 | 8 <experts>".into(),
            parameters: Some(4_200_000),
            seeds: vec![seed(0, 0.5), seed(1, 0.625)],
            ..Arm::default()
        };
        let table = arms_table(&Report { arms: vec![arm], ..Report::default() }).replace(units::GAP, " ");
        let row = table.lines().nth(2).unwrap();
        assert_eq!(row, "| top-2 \\| 8 \\<experts\\> | 4.20 M | – | – | – | – | 56.2 % (50.0 to 62.5 %) | – | – | – |");
    }
}
