//! Replies in dialogues that should rest on a passage.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "begin",
    file: "hallucination/begin.jsonl.zst",
    citation: "Dziri et al. 2022, BEGIN (arXiv 2105.00071)",
    summary: "replies fully attributable to the knowledge (0), not fully (1), or generic (no label)",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    model_name: String,
    knowledge: String,
    message: String,
    response: String,
    begin_label: Label,
}

#[derive(Deserialize)]
enum Label {
    #[serde(rename = "Fully attributable")]
    Attributable,
    #[serde(rename = "Not fully attributable")]
    NotAttributable,
    Generic,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let wrong = match row.begin_label {
        Label::Attributable => Some(false),
        Label::NotAttributable => Some(true),
        Label::Generic => None,
    };
    let item = Item::new(ADAPTER.name, row.row, row.message, row.response).labelled(wrong);
    Ok(vec![item.with_source(json!({ "knowledge": row.knowledge, "model": row.model_name }))])
}
