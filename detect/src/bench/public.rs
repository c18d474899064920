//! What can be said of public labelled data without a model: how many labels, how many of them wrong, and how far length alone tells them apart.
//!
//! A detector's AUROC on a data set means little before one knows what the length of the answers is worth there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::adapters::{Adapter, Item, Kind};
use crate::metrics::{self, Interval, MetricError};
use crate::record::Record;
use crate::scores::{Case, LENGTH, find};

const RESAMPLES: usize = 1000;
const CONFIDENCE: f64 = 0.95;

/// A data set, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicData {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub citation: String,
    /// Items that were read.
    pub items: usize,
    /// Rows that could not be read.
    pub bad_rows: usize,
    /// Items without a response: questions for a model.
    pub questions: usize,
    /// The labels, by what they are about.
    pub levels: Vec<Level>,
}

/// The labels of one kind of text, and the length baseline on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// `response`, or a kind of unit.
    pub unit: String,
    /// How many are labelled.
    pub n: usize,
    /// Share of them that is wrong.
    pub base_rate: f64,
    /// Area under the ROC curve of the length in characters; interval by resampling prompts (responses where there is no prompt).
    pub length_auroc: Option<Interval>,
    /// Average precision of the same.
    pub length_auc_pr: Option<f64>,
    /// Why there are no areas.
    pub undefined: Option<String>,
}

/// Measures the items of a data set; `seed` draws the resamples.
pub fn public(adapter: &Adapter, items: &[Item], bad_rows: usize, seed: u64) -> PublicData {
    let responses = ("response", items.iter().map(|item| item.record.clone()).collect());
    let units = [Kind::Sentence, Kind::Claim].map(|kind| (kind.name(), items.iter().flat_map(|item| item.unit_records(kind)).collect()));
    let kinds: [(&str, Vec<Record>); 2] = units;
    let levels = std::iter::once(responses).chain(kinds).filter_map(|(unit, records)| level(unit, &records, seed));
    PublicData {
        name: adapter.name.to_owned(),
        citation: adapter.citation.to_owned(),
        items: items.len(),
        bad_rows,
        questions: items.iter().filter(|item| item.is_question()).count(),
        levels: levels.collect(),
    }
}

/// `None` where nothing is labelled.
fn level(unit: &str, records: &[Record], seed: u64) -> Option<Level> {
    let labelled: Vec<(&Record, bool)> = records.iter().filter_map(|record| Some((record, record.wrong()?))).collect();
    let wrong: Vec<bool> = labelled.iter().map(|&(_, wrong)| wrong).collect();
    let base_rate = metrics::base_rate(&wrong).ok()?;
    let scorer = find(LENGTH).ok()?;
    let lengths: Vec<f64> = labelled.iter().filter_map(|(record, _)| scorer.score(&Case::new(record)).ok()).collect();
    let areas = areas(&lengths, &wrong, &groups(&labelled), seed);
    let (auroc, auc_pr) = areas.as_ref().map_or((None, None), |&(auroc, auc_pr)| (Some(auroc), Some(auc_pr)));
    let undefined = areas.err().map(|error| error.to_string());
    Some(Level { unit: unit.to_owned(), n: wrong.len(), base_rate, length_auroc: auroc, length_auc_pr: auc_pr, undefined })
}

/// Which texts belong to one prompt, or without a prompt to one response: their labels are not independent.
fn groups(labelled: &[(&Record, bool)]) -> Vec<Vec<usize>> {
    let mut groups = BTreeMap::<&str, Vec<usize>>::new();
    for (index, (record, _)) in labelled.iter().enumerate() {
        let whole = record.id.splitn(3, '/').take(2).map(str::len).sum::<usize>() + 1;
        let key = if record.prompt.is_empty() { record.id.get(..whole).unwrap_or(&record.id) } else { record.prompt.as_str() };
        groups.entry(key).or_default().push(index);
    }
    groups.into_values().collect()
}

fn areas(scores: &[f64], wrong: &[bool], groups: &[Vec<usize>], seed: u64) -> Result<(Interval, f64), MetricError> {
    let auc_pr = metrics::average_precision(scores, wrong)?;
    let auroc = |drawn: &[usize]| {
        let items = || drawn.iter().filter_map(|&group| groups.get(group)).flatten();
        let (scores, wrong): (Vec<f64>, Vec<bool>) = items().map(|&item| (scores[item], wrong[item])).unzip();
        metrics::auroc(&scores, &wrong).ok()
    };
    Ok((metrics::bootstrap(groups.len(), RESAMPLES, CONFIDENCE, seed, auroc)?, auc_pr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(row: usize, response: &str, wrong: Option<bool>) -> Item {
        let record = Record { id: format!("data/{row}"), response: response.into(), label: wrong.map(u8::from), ..Record::default() };
        Item { record, ..Item::default() }
    }

    #[test]
    fn length_is_measured_where_both_classes_are() {
        let adapter = crate::adapters::find("halueval_general").expect("listed");
        let items: Vec<Item> = (1..=20).map(|i| item(i, &"x".repeat(i), Some(i > 10))).chain([item(21, "y", None)]).collect();
        let found = public(adapter, &items, 2, 0);
        assert_eq!((found.items, found.bad_rows, found.questions, found.levels.len()), (21, 2, 0, 1));
        let level = &found.levels[0];
        assert_eq!((level.n, level.base_rate, level.length_auc_pr), (20, 0.5, Some(1.0)));
        assert_eq!(level.length_auroc.map(|interval| interval.estimate), Some(1.0));
        let one_class = public(adapter, &items[..5], 0, 0);
        assert!(one_class.levels[0].undefined.as_ref().is_some_and(|why| why.starts_with("all 5 responses are right")));
    }

    #[test]
    fn texts_of_one_response_are_one_group() {
        let records: Vec<Record> =
            ["d/1/claim/0", "d/1/claim/1", "d/12/claim/0"].map(|id| Record { id: id.into(), ..Record::default() }).to_vec();
        let labelled: Vec<(&Record, bool)> = records.iter().map(|record| (record, true)).collect();
        assert_eq!(groups(&labelled), [vec![0, 1], vec![2]]);
    }
}
