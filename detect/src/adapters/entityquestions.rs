//! Questions about entities, by relation.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "entityquestions",
    file: "eval/entityquestions_test.jsonl.zst",
    citation: "Sciavolino et al. 2021, EntityQuestions (arXiv 2109.08535)",
    summary: "questions to be answered, with answers; 24 relations",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    relation: String,
    question: String,
    answers: Vec<String>,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let item = Item::question(ADAPTER.name, format!("{}/{}", row.relation, row.row), row.question, row.answers);
    Ok(vec![item.with_source(json!({ "relation": row.relation }))])
}
