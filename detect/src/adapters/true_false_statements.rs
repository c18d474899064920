//! True and false statements on nine topics, with negations.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "true_false_statements",
    file: "hallucination/true_false_statements.jsonl.zst",
    citation: "Bürger et al. 2024, Truth is Universal (arXiv 2407.12831)",
    summary: "statements, true (0) or false (1); without a prompt",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    topic: String,
    negated: bool,
    lang: String,
    statement: String,
    label: u8,
    group: String,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let item = Item::new(ADAPTER.name, row.row, "", row.statement).labelled(Some(row.label == 0));
    Ok(vec![item.with_source(json!({ "topic": row.topic, "negated": row.negated, "lang": row.lang, "group": row.group }))])
}
