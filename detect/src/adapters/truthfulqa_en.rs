//! Questions that people answer wrongly, with right and wrong answers.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "truthfulqa_en",
    file: "eval/truthfulqa_en.jsonl.zst",
    citation: "Lin et al. 2022, TruthfulQA (arXiv 2109.07958)",
    summary: "reference answers to a question, right (0) or a misconception (1)",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    question: String,
    category: String,
    correct_answers: Vec<String>,
    incorrect_answers: Vec<String>,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let answer = |name: &str, number: usize, text: &str, wrong| {
        let mut item = Item::new(ADAPTER.name, format!("{}/{name}/{number}", row.row), row.question.as_str(), text).labelled(Some(wrong));
        item.record.reference.clone_from(&row.correct_answers);
        item.with_source(json!({ "category": row.category }))
    };
    let right = row.correct_answers.iter().enumerate().map(|(i, text)| answer("right", i, text, false));
    let wrong = row.incorrect_answers.iter().enumerate().map(|(i, text)| answer("wrong", i, text, true));
    Ok(right.chain(wrong).collect())
}
