//! Short Markdown tables of the arms and of the methods, for a README or a log.

use crate::data::{Arm, Measure, Report};
use crate::methods::{MethodArm, Methods};
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

/// One row per method: its costs, then for each data set its jump at step 0, its final loss and the difference to the control's,
/// facts known where they were asked, load entropy as a share of ln N and dead experts; means over seeds with their range in brackets.
///
/// Pipes, line breaks and markup in labels are escaped; without methods only the head remains.
#[must_use]
pub fn methods_table(report: &Report) -> String {
    let methods = Methods::of(report);
    let heads = (0..methods.datasets.len()).flat_map(|dataset| {
        let name = escape(methods.datasets[dataset]);
        methods.quantities(dataset).into_iter().map(move |quantity| format!("{name}: {}", quantity.title().0))
    });
    let heads: Vec<String> = ["arm", "parameters", "active", "FLOPs / token"].map(str::to_owned).into_iter().chain(heads).collect();
    let rule = ":--|".to_owned() + &"--:|".repeat(heads.len() - 1);
    let rows: String = methods.arms.iter().map(|arm| method_row(&methods, arm)).collect();
    format!("| {} |\n|{rule}\n{rows}", heads.join(" | "))
}

/// One method's row.
fn method_row(methods: &Methods<'_>, arm: &MethodArm<'_>) -> String {
    let [parameters, active] =
        [arm.cost(|r| r.parameters), arm.cost(|r| r.active_parameters)].map(|costs| all(&costs, |v| units::count(Some(v))));
    let mut cells = vec![escape(arm.shown()), parameters, active, all(&arm.cost(|r| r.flops_per_token), |v| units::si(Some(v)))];
    for dataset in 0..methods.datasets.len() {
        for value in methods.quantities(dataset).into_iter().map(|quantity| methods.value(dataset, arm, quantity)) {
            cells.push(value.range.map_or(value.text.clone(), |range| format!("{} ({range})", value.text)));
        }
    }
    format!("| {} |\n", cells.join(" | "))
}

/// The numbers of different data sets, in their order; a dash where there are none.
fn all<T: Copy>(values: &[(&str, T)], text: impl Fn(T) -> String) -> String {
    let texts: Vec<String> = values.iter().map(|(_, value)| text(*value)).collect();
    if texts.is_empty() { units::MISSING.to_owned() } else { texts.join(" / ") }
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
    use crate::data::{MethodResult, MethodSeed, SeedResult};

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

    #[test]
    fn methods_stand_in_one_row_for_all_data_sets() {
        let seed = |loss| MethodSeed { final_loss: Some(loss), step0_jump: Some(0.25), load_entropy: Some(0.5), ..MethodSeed::default() };
        let result = |dataset: &str, parameters| MethodResult {
            arm: "a|b".into(),
            dataset: dataset.into(),
            parameters: Some(parameters),
            seeds: vec![seed(2.0), seed(2.5)],
            ..MethodResult::default()
        };
        let report = Report { methods: vec![result("world", 100), result("text", 200)], ..Report::default() };
        let table = methods_table(&report).replace(units::GAP, " ");
        let [head, rule, row] = table.lines().collect::<Vec<_>>()[..] else { panic!("{table}") };
        assert_eq!([head, rule].map(|line| line.matches('|').count()), [17, 17]);
        let each = "+0.25 | 2.250 (2.000 to 2.500) | – | 50.0 % | – | –";
        assert_eq!(row, format!("| a\\|b | 100 / 200 | – | – | {each} | {each} |"));
    }
}
