//! Questions that people typed into a search engine, with short answers.

use serde::Deserialize;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "nq_open",
    file: "sharealike/eval/nq_open_dev.jsonl.zst",
    citation: "Lee et al. 2019 (arXiv 1906.00300); Kwiatkowski et al. 2019, Natural Questions, open version",
    summary: "questions to be answered, with short answers",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    question: String,
    answer: Vec<String>,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    Ok(vec![Item::question(ADAPTER.name, row.row, row.question, row.answer)])
}
