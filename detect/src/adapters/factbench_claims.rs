//! Answers cut into claims with a truth label each, and one for the whole.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Adapter, Item, Kind, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "factbench_claims",
    file: "hallucination/factbench_claims.jsonl.zst",
    citation: "Wang et al. 2024, Factcheck-GPT (arXiv 2311.09000), Factbench; sources factcheckgpt and factool-qa",
    summary: "answers and their claims, true (0), false (1) or unknown (no label)",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    prompt: String,
    response: String,
    response_label: Truth,
    claims: Vec<String>,
    claim_labels: Vec<Truth>,
    source: String,
}

/// `true`, `false`, or a word for neither.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Truth(Option<bool>);

impl Truth {
    /// Whether it is wrong, if that is known.
    pub(super) fn wrong(&self) -> Option<bool> {
        self.0.map(|truth| !truth)
    }
}

impl TryFrom<Value> for Truth {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match (&value, value.as_str()) {
            (Value::Bool(truth), _) => Ok(Self(Some(*truth))),
            (Value::Null, _) | (_, Some("NA" | "unknown")) => Ok(Self(None)),
            _ => Err(format!("the label is {value}; expected true, false, \"NA\" or \"unknown\"")),
        }
    }
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    if row.claims.len() != row.claim_labels.len() {
        return Err(format!("claim_labels has {} entries but claims has {}", row.claim_labels.len(), row.claims.len()));
    }
    let units = row.claims.into_iter().zip(&row.claim_labels).map(|(text, label)| Kind::Claim.unit(text, label.wrong()));
    let item = Item::new(ADAPTER.name, row.row, row.prompt, row.response).labelled(row.response_label.wrong()).with_units(units);
    Ok(vec![item.with_source(json!({ "source": row.source }))])
}
