//! Biographies by three models, cut into atomic facts by people.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, Kind, Unit, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "factscore_human",
    file: "hallucination/factscore_human.jsonl.zst",
    citation: "Min et al. 2023, FActScore (arXiv 2305.14251), human annotations",
    summary: "biographies; claims supported (0), not supported (1) or irrelevant (no label)",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    model: String,
    input: String,
    output: String,
    topic: String,
    annotations: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    #[serde(rename = "human-atomic-facts")]
    facts: Option<Vec<Fact>>,
}

#[derive(Deserialize)]
struct Fact {
    text: String,
    label: Label,
}

#[derive(Deserialize)]
enum Label {
    S,
    #[serde(rename = "NS")]
    NotSupported,
    #[serde(rename = "IR")]
    Irrelevant,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let units = row.annotations.into_iter().flat_map(|sentence| sentence.facts.unwrap_or_default()).map(unit);
    let item = Item::new(ADAPTER.name, row.row, row.input, row.output).with_units(units);
    Ok(vec![item.with_source(json!({ "model": row.model, "topic": row.topic }))])
}

fn unit(fact: Fact) -> Unit {
    let wrong = match fact.label {
        Label::S => Some(false),
        Label::NotSupported => Some(true),
        Label::Irrelevant => None,
    };
    Kind::Claim.unit(fact.text, wrong)
}
