//! SelfCheckGPT's protocol against scikit-learn and scipy: on made-up passages (`golden/selfcheck.py`), and on the scores recorded with the
//! WikiBio passages of the shared data (`experiments/peers/selfcheck_wikibio.py`; skipped, saying so, where the data is not there).

use std::collections::BTreeMap;
use std::path::PathBuf;

use coppice_detect::adapters::{Item, find, read};
use coppice_detect::bench::{Passage, SelfCheck, selfcheck, wikibio};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    passages: Vec<Scored>,
    expected: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Scored {
    grades: Vec<f64>,
    scores: Vec<f64>,
    whole: f64,
}

fn figures(found: &SelfCheck) -> [f64; 5] {
    [found.non_fact.auc_pr, found.non_fact_star.auc_pr, found.factual.auc_pr, found.pearson, found.spearman]
}

fn assert_near(found: [f64; 5], expected: [f64; 5], what: &str) {
    assert!(
        found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9),
        "{what}: {found:?}, expected {expected:?}"
    );
}

#[test]
fn the_protocol_equals_scikit_learn_and_scipy() {
    let Golden { passages, expected } = serde_json::from_str(include_str!("golden/selfcheck.json")).expect("written by selfcheck.py");
    let passages: Vec<Passage> = passages.into_iter().map(|Scored { grades, scores, whole }| Passage { grades, scores, whole }).collect();
    let expected = ["non_fact", "non_fact_star", "factual", "pearson", "spearman"].map(|name| expected[name]);
    assert_near(figures(&selfcheck(&passages).expect("defined")), expected, "made-up passages");
}

#[test]
fn recorded_scores_get_the_figures_that_python_gets() {
    let adapter = find("selfcheck_wikibio").expect("listed");
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("COPPICE_DATA").map_or_else(beside, PathBuf::from).join(adapter.file);
    if !path.exists() {
        eprintln!("SKIPPED: no {}; set COPPICE_DATA to the shared data", path.display());
        return;
    }
    let items: Vec<Item> = read(adapter, &path).expect("opens").into_iter().map(|item| item.expect("a good row")).collect();
    let rows = wikibio(&items, 0).expect("defined");
    let of = |name: &str| figures(&rows.iter().find(|row| row.score == name).expect("measured").measured);
    let nli = [0.9411953288824588, 0.4509351972832638, 0.6567172925083335, 0.787814078184638, 0.7916292415264502];
    let bert = [0.8565338885819341, 0.3548153365898459, 0.44510635084512273, 0.5849733990199518, 0.5732818270350083];
    assert_near(of("recorded_nli"), nli, "NLI");
    assert_near(of("recorded_bert"), bert, "BERTScore");
    // selfcheckgpt's UnigramModel on spaCy's tokens gets 0.7773 and 0.8423; other tokens, hence the tolerance.
    assert!((of("selfcheck_ngram_max")[0] - 0.7773).abs() < 0.01 && (of("selfcheck_ngram_avg")[0] - 0.8423).abs() < 0.01);
}
