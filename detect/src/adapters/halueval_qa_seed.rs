//! Questions with the right answer and one made up by a model on request: nearly told apart by length alone.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "halueval_qa_seed",
    file: "sharealike/hallucination/halueval_qa_seed.jsonl.zst",
    citation: "Li et al. 2023, HaluEval (arXiv 2305.11747), generation seeds of the QA part; not labelled by people",
    summary: "the right (0) and a hallucinated (1) answer to a question",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    knowledge: String,
    question: String,
    right_answer: String,
    hallucinated_answer: String,
    generation: String,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let answer = |name: &str, text: &str, wrong| {
        let id = format!("{}/{name}", row.row);
        let mut item = Item::new(ADAPTER.name, id, row.question.as_str(), text).labelled(Some(wrong));
        item.record.reference = vec![row.right_answer.clone()];
        item.with_source(json!({ "knowledge": row.knowledge, "generation": row.generation }))
    };
    Ok(vec![answer("right", &row.right_answer, false), answer("hallucinated", &row.hallucinated_answer, true)])
}
