//! Methods side by side: one table with a group of columns per data set, and the losses in one picture.

use super::figures::Section;
use super::table::{Cell, Column, Row, Table, number, words};
use crate::Error;
use crate::data::{Report, Role};
use crate::methods::{MethodArm, Methods};
use crate::plots;
use crate::units::{count, si};

/// The table, and what each method does.
pub(super) fn table(report: &Report) -> Table {
    let methods = Methods::of(report);
    let costs =
        [words("arm"), number("parameters", ""), number("active", "parameters one token uses"), number("FLOPs / token", "inference")];
    let (mut columns, mut groups) = (costs.to_vec(), vec![(String::new(), costs.len())]);
    for (dataset, name) in methods.datasets.iter().enumerate() {
        let heads: Vec<Column> = methods.quantities(dataset).into_iter().map(|q| number(q.title().0, q.title().1)).collect();
        groups.push(((*name).to_owned(), heads.len()));
        columns.extend(heads);
    }
    let rows = methods.arms.iter().map(|arm| row(&methods, arm)).collect();
    Table { id: "side-by-side", caption: "Every method, mean over seeds with range", groups, columns, rows }
}

fn row(methods: &Methods<'_>, arm: &MethodArm<'_>) -> Row {
    let mut cells = vec![
        Cell::words(arm.shown()),
        cost(&arm.cost(|result| result.parameters.map(|n| n as f64)), |v| count(v.map(|n| n as u64))),
        cost(&arm.cost(|result| result.active_parameters.map(|n| n as f64)), |v| count(v.map(|n| n as u64))),
        cost(&arm.cost(|result| result.flops_per_token), si),
    ];
    for dataset in 0..methods.datasets.len() {
        let values = methods.quantities(dataset).into_iter().map(|quantity| methods.value(dataset, arm, quantity));
        cells.extend(values.map(|value| Cell { note: value.range.unwrap_or_default(), ..Cell::number(value.text, value.key) }));
    }
    Row { class: if arm.role() == Role::Control { "baseline" } else { "" }, cells }
}

/// A cost on the first data set; those on others below it, where they differ.
fn cost(costs: &[(&str, f64)], text: impl Fn(Option<f64>) -> String) -> Cell {
    let first = costs.first().map(|(_, cost)| *cost);
    let others = costs.iter().skip(1).map(|(dataset, cost)| format!("{dataset}: {}", text(Some(*cost))));
    Cell { note: others.collect::<Vec<_>>().join(", "), ..Cell::number(text(first), first) }
}

/// Every arm's name with what it does, each once.
pub(super) fn summaries(report: &Report) -> Vec<(String, String)> {
    let mut summaries: Vec<(String, String)> = Vec::new();
    for result in report.methods.iter().filter(|result| !result.summary.is_empty()) {
        let entry = (result.shown().to_owned(), result.summary.clone());
        if !summaries.contains(&entry) {
            summaries.push(entry);
        }
    }
    summaries
}

/// The losses as a picture.
pub(super) fn picture(report: &Report) -> Result<Section, Error> {
    let caption = "Final loss minus the mean of the dense control's: left of the dashed line is better. Rings are seeds, filled marks \
                   their means; the control's own rings show what seeds alone do.";
    Ok(Section::collect(String::new(), [(plots::methods_svg(report), caption.to_owned())])?.laid_out("broad"))
}
