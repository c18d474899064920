//! Facts completed with the true and with another object of the same kind.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "counterfact_true_false",
    file: "hallucination/counterfact_true_false.jsonl.zst",
    citation: "Meng et al. 2022, CounterFact (arXiv 2202.05262), as statements of Bürger et al. 2024 (arXiv 2407.12831)",
    summary: "statements, true (0) or counterfactual (1); without a prompt",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    statement: String,
    label: u8,
    relation: String,
    subject: String,
    true_target: String,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let mut item = Item::new(ADAPTER.name, row.row, "", row.statement).labelled(Some(row.label == 0));
    item.record.reference = vec![row.true_target];
    Ok(vec![item.with_source(json!({ "relation": row.relation, "subject": row.subject }))])
}
