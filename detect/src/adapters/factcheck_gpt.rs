//! ChatGPT's answers, annotated by sentence and claim, with corrections.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::factbench_claims::Truth;
use super::{Adapter, Item, Kind, Unit, read};

pub(super) const ADAPTER: Adapter = Adapter {
    name: "factcheck_gpt",
    file: "hallucination/factcheck_gpt.jsonl.zst",
    citation: "Wang et al. 2024, Factcheck-GPT (arXiv 2311.09000), benchmark",
    summary: "answers, their sentences and claims, true (0), false (1) or not to be decided (no label)",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    prompt: String,
    response: String,
    response_factuality: Truth,
    sentences: BTreeMap<String, Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    sentence_factuality_label: Truth,
    #[serde(default)]
    claims: Vec<String>,
    #[serde(default)]
    claims_factuality_label: Vec<Truth>,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    let mut sentences: Vec<(String, Sentence)> = row.sentences.into_iter().collect();
    sentences.sort_by_key(|(name, _)| name.trim_start_matches("sentence").parse::<usize>().unwrap_or(usize::MAX));
    let mut units = Vec::new();
    for (name, sentence) in &sentences {
        units.extend(parts(sentence).map_err(|reason| format!("{name}: {reason}"))?);
    }
    Ok(vec![Item::new(ADAPTER.name, row.row, row.prompt, row.response).labelled(row.response_factuality.wrong()).with_units(units)])
}

/// The sentence and its claims.
fn parts(sentence: &Sentence) -> Result<Vec<Unit>, String> {
    let (claims, labels) = (&sentence.claims, &sentence.claims_factuality_label);
    if !labels.is_empty() && claims.len() != labels.len() {
        return Err(format!("claims_factuality_label has {} entries but claims has {}", labels.len(), claims.len()));
    }
    let whole = Kind::Sentence.unit(sentence.text.as_str(), sentence.sentence_factuality_label.wrong());
    let claims = claims.iter().enumerate().map(|(i, text)| Kind::Claim.unit(text.as_str(), labels.get(i).and_then(Truth::wrong)));
    Ok(std::iter::once(whole).chain(claims).collect())
}
