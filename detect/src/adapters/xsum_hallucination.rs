//! Summaries with the spans that annotators found to be hallucinated.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, Kind, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "xsum_hallucination",
    file: "hallucination/xsum_hallucination.jsonl.zst",
    citation: "Maynez et al. 2020 (arXiv 2005.00661), hallucination annotations",
    summary: "summaries in which most annotators marked a span (1) or not (0); the spans, intrinsic or extrinsic",
    annotators: true,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    bbcid: String,
    system: String,
    summary: String,
    hallucination_type: String,
    #[serde(default)]
    hallucinated_span: Option<String>,
    worker_id: String,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let wrong = row.hallucination_type != "NULL";
    let span = row.hallucinated_span.filter(|_| wrong).map(|text| Kind::Span.unit(text, Some(true)));
    let item = Item::new(ADAPTER.name, format!("{}/{}", row.bbcid, row.system), "", row.summary).labelled(Some(wrong)).with_units(span);
    Ok(vec![Item { annotator: Some(row.worker_id), ..item.with_source(json!({ "bbcid": row.bbcid, "system": row.system })) }])
}
