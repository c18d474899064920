//! WikiBio passages by GPT-3, judged sentence by sentence, with further passages sampled for each.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Adapter, Item, Kind, read};
use crate::record::Sample;

pub(super) const ADAPTER: Adapter = Adapter {
    name: "selfcheck_wikibio",
    file: "sharealike/hallucination/selfcheck_wikibio_119.jsonl.zst",
    citation: "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896); samples and baseline scores of KAIST-CS584-HCI/selfcheckgpt-replication",
    summary: "passages; sentences accurate (0), with minor (0.5) or major (1) inaccuracies; samples",
    annotators: false,
    convert: |line| read::items(line, items),
};

#[derive(Deserialize)]
struct Row {
    row: u64,
    wiki_bio_text: String,
    passage: String,
    sentences: Vec<String>,
    annotation: Vec<Grade>,
    samples: Vec<String>,
    #[serde(default)]
    baseline_scores: Value,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Grade {
    Accurate,
    MinorInaccurate,
    MajorInaccurate,
}

fn items(row: Row) -> Result<Vec<Item>, String> {
    if row.sentences.len() != row.annotation.len() {
        return Err(format!("annotation has {} entries but sentences has {}", row.annotation.len(), row.sentences.len()));
    }
    let units = row.sentences.into_iter().zip(row.annotation).map(|(text, grade)| Kind::Sentence.graded(text, grade.value()));
    let mut item = Item::new(ADAPTER.name, row.row, "", row.passage).with_units(units);
    item.record.samples = row.samples.into_iter().map(|text| Sample { text, ..Sample::default() }).collect();
    item.record.reference = vec![row.wiki_bio_text];
    Ok(vec![item.with_source(json!({ "baseline_scores": row.baseline_scores }))])
}

impl Grade {
    fn value(self) -> f64 {
        match self {
            Self::Accurate => 0.0,
            Self::MinorInaccurate => 0.5,
            Self::MajorInaccurate => 1.0,
        }
    }
}
