//! Summaries that annotators called factual or not.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "xsum_factuality",
    file: "hallucination/xsum_factuality.jsonl.zst",
    citation: "Maynez et al. 2020 (arXiv 2005.00661), factuality annotations",
    summary: "summaries that most of three annotators call factual (0) or not (1)",
    annotators: true,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    bbcid: String,
    system: String,
    summary: String,
    is_factual: Answer,
    worker_id: String,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Yes,
    No,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let item =
        Item::new(ADAPTER.name, format!("{}/{}", row.bbcid, row.system), "", row.summary).labelled(Some(row.is_factual == Answer::No));
    Ok(vec![Item { annotator: Some(row.worker_id), ..item.with_source(json!({ "bbcid": row.bbcid, "system": row.system })) }])
}
