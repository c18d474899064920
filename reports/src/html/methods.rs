//! Methods side by side: one table with a group of columns per data set, and the losses in one picture.

use super::figures::Section;
use super::table::{Cell, Column, Row, Table, number, words};
use crate::Error;
use crate::data::{Report, Role};
use crate::markdown::all;
use crate::methods::{MethodArm, Methods};
use crate::plots;
use crate::units::{count, si};

/// The table, and what each method does.
pub(super) fn table(report: &Report) -> Table {
    let methods = Methods::of(report);
    let costs = [words("arm"), number("parameters", ""), number("active", "parameters one token uses"), number("FLOPs / token", "inference")];
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
    let whole = |costs: Vec<u64>| Cell::number(all(&costs, |v| count(Some(v))), costs.first().map(|v| *v as f64));
    let flops = arm.cost(|result| result.flops_per_token);
    let mut cells = vec![
        Cell::words(arm.shown()),
        whole(arm.cost(|result| result.parameters)),
        whole(arm.cost(|result| result.active_parameters)),
        Cell::number(all(&flops, |v| si(Some(v))), flops.first().copied()),
    ];
    for dataset in 0..methods.datasets.len() {
        let values = methods.quantities(dataset).into_iter().map(|quantity| methods.value(dataset, arm, quantity));
        cells.extend(values.map(|value| Cell { note: value.range.unwrap_or_default(), ..Cell::number(value.text, value.key) }));
    }
    Row { class: if arm.role() == Role::Control { "baseline" } else { "" }, cells }
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
