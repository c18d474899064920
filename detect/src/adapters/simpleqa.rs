//! Short factual questions that even large models miss.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "simpleqa",
    file: "eval/simpleqa.jsonl.zst",
    citation: "Wei et al. 2024, SimpleQA (arXiv 2411.04368)",
    summary: "questions to be answered, with one answer",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    question: String,
    answer: String,
    topic: String,
    answer_type: String,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let item = Item::question(ADAPTER.name, row.row, row.question, vec![row.answer]);
    Ok(vec![item.with_source(json!({ "topic": row.topic, "answer_type": row.answer_type }))])
}
