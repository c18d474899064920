//! Answers of seven models, cut into triplets that people compared with a reference.

use serde::Deserialize;
use serde_json::json;

use super::{Adapter, Item, Kind, Unit, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "refchecker_human",
    file: "hallucination/refchecker_human.jsonl.zst",
    citation: "Hu et al. 2024, RefChecker (arXiv 2405.14486), human annotations v1",
    summary: "answers; claims (subject, relation, object) entailed (0), neutral (0.5, wrong) or contradicted (1) by the reference",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    setting: String,
    dataset: String,
    model: String,
    response: String,
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    triplet: Vec<String>,
    human_label: Label,
}

#[derive(Deserialize)]
enum Label {
    Entailment,
    Neutral,
    Contradiction,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let item = Item::new(ADAPTER.name, row.row, "", row.response).with_units(row.claims.into_iter().map(unit));
    Ok(vec![item.with_source(json!({ "setting": row.setting, "dataset": row.dataset, "model": row.model }))])
}

fn unit(claim: Claim) -> Unit {
    let grade = match claim.human_label {
        Label::Entailment => 0.0,
        Label::Neutral => 0.5,
        Label::Contradiction => 1.0,
    };
    Kind::Claim.graded(claim.triplet.join(" "), grade)
}
