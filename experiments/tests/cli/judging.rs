//! `detect judge` and `--nli URL`: a model at a server judges responses and entailment.

use crate::support::openai::{Asked, Mock, Reply, prompt, saying};
use crate::support::{Folder, coppice, done, refused};

/// Entails what is equally long, contradicts the rest; every response is true.
fn judging(asked: &Asked) -> Reply {
    let asking = prompt(asked);
    let line = |name: &str| asking.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let word = match (line("Premise: Idea"), line("Hypothesis: Idea")) {
        (Some(premise), Some(hypothesis)) if premise.len() == hypothesis.len() => "entailment",
        (Some(_), Some(_)) => "contradiction",
        _ => "True",
    };
    Reply::Json(saying(asked, &[word]))
}

#[test]
fn a_server_judges_responses_and_entailment() {
    let (folder, judge) = (Folder::new(), Mock::start(judging));
    let samples = r#"[{"text":"Idea 1"},{"text":"Idea 2"},{"text":"Idea 3"},{"text":"Idea 10"}]"#;
    let record = |id: usize| format!("{{\"id\":\"{id}\",\"prompt\":\"p\",\"response\":\"Idea 0\",\"samples\":{samples}}}\n");
    folder.write("r.jsonl", (0..3).map(record).collect::<String>());
    let (records, judged, verdicts) = (folder.arg("r.jsonl"), folder.arg("j.jsonl"), folder.arg("v.jsonl"));
    done(&mut coppice(["detect", "judge", "--server", &judge.address, "--input", &records, "--output", &judged, "--opinions", "p_true"]));
    assert!(folder.lines("j.jsonl").iter().all(|line| line["judged"]["p_true"] == 1.0 && line["judged"].get("support").is_none()));
    let mut unknown = coppice(["detect", "judge", "--server", &judge.address, "--input", &records, "--output", &verdicts]);
    let told = refused(unknown.args(["--opinions", "truth"]));
    assert!(told.contains("unknown opinion `truth`"), "{told}");
    let score = ["detect", "score", "--input", &judged, "--output", &verdicts, "--nli", &judge.address, "--equivalence", "nli_strict"];
    done(coppice(score).args(["--scores", "discrete_semantic_entropy"]));
    // Three samples of one meaning, one of another.
    let expected = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
    for line in folder.lines("v.jsonl") {
        let entropy = line["scores"]["discrete_semantic_entropy"].as_f64().unwrap_or_else(|| panic!("{line}"));
        assert!((entropy - expected).abs() < 1e-12, "{line}");
    }
}
