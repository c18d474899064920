//! ChatGPT's answers to user queries, judged by people.

use serde::Deserialize;

use super::{Adapter, Item, Kind, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "halueval_general",
    file: "hallucination/halueval_general.jsonl.zst",
    citation: "Li et al. 2023, HaluEval (arXiv 2305.11747), general queries",
    summary: "answers that hold a hallucination (1) or none (0); spans where it is",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    user_query: String,
    chatgpt_response: String,
    hallucination: Answer,
    #[serde(default)]
    hallucination_spans: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Yes,
    No,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let wrong = row.hallucination == Answer::Yes;
    let spans = row.hallucination_spans.into_iter().filter(|_| wrong).map(|text| Kind::Span.unit(text, Some(true)));
    Ok(vec![Item::new(ADAPTER.name, row.row, row.user_query, row.chatgpt_response).labelled(Some(wrong)).with_units(spans)])
}
