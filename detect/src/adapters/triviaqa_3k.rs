//! Trivia questions to be answered from memory, with aliases of the answer.

use serde::Deserialize;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "triviaqa_3k",
    file: "eval/triviaqa_3k.jsonl.zst",
    citation: "Joshi et al. 2017, TriviaQA (arXiv 1705.03551), 3,000 questions of mosaicml/llm-foundry",
    summary: "questions to be answered, with the answer and its aliases",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    question: String,
    answer: String,
    aliases: Vec<String>,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let others = row.aliases.into_iter().filter(|alias| *alias != row.answer);
    let answers = std::iter::once(row.answer.clone()).chain(others).collect();
    Ok(vec![Item::question(ADAPTER.name, row.row, row.question, answers)])
}
