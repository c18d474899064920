//! ChatGPT's answers in five fields, cut into facts that people judged.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, Kind, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "halueval2_human",
    file: "hallucination/halueval2_human.jsonl.zst",
    citation: "Li et al. 2024, The Dawn After the Dark (arXiv 2401.03205), HaluEval 2.0, human annotation",
    summary: "answers; claims that are true (0), false (1) or were not judged (no label)",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    domain: String,
    user_query: String,
    chatgpt_response: String,
    chatgpt_fact: Vec<String>,
    human_judge: Vec<Judge>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Judge {
    True,
    False,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let judged = row.human_judge.len();
    if judged != 0 && row.chatgpt_fact.len() != judged {
        return Err(format!("human_judge has {judged} entries but chatgpt_fact has {}", row.chatgpt_fact.len()));
    }
    let wrong = |i: usize| row.human_judge.get(i).map(|judge| *judge == Judge::False);
    let units = row.chatgpt_fact.into_iter().enumerate().map(|(i, text)| Kind::Claim.unit(text, wrong(i)));
    let item = Item::new(ADAPTER.name, row.row, row.user_query, row.chatgpt_response).with_units(units);
    Ok(vec![item.with_source(json!({ "domain": row.domain }))])
}
