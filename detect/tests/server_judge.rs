//! A model at a server as a judge, and its answers in the shapes in which real servers send them (`golden/server.py`).

#[path = "support/openai.rs"]
mod openai;

use std::time::Duration;

use coppice_detect::Record;
use coppice_detect::entailment::{Entailment, Served};
use coppice_detect::server::{Access, Answer, Endpoint, Judge, Opinion, Remote, Retry, Server};
use openai::{Asked, Mock, Reply, saying};
use serde_json::{Map, Value, json};

fn remote(mock: &Mock, endpoint: Endpoint) -> Remote {
    let retry = Retry { retries: 0, ..Retry::default() };
    let access = Access { address: mock.address.clone(), key: None, timeout: Duration::from_secs(20), retry };
    Remote::open(Server::new(access).unwrap(), None, endpoint, Map::new()).unwrap()
}

#[derive(serde::Deserialize)]
struct Golden {
    answers: Vec<Answered>,
    choices: Vec<Chosen>,
}

#[derive(serde::Deserialize)]
struct Answered {
    body: Value,
    text: String,
    finish_reason: String,
    token_texts: Vec<String>,
    token_logprobs: Vec<f64>,
    tokens: Option<Vec<i64>>,
    top_logprobs: Vec<Vec<(i64, f64)>>,
    top_texts: Vec<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Chosen {
    top: Value,
    shares: Option<[f64; 3]>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/server.json")).unwrap()
}

#[test]
fn answers_in_every_shape_are_read_as_python_reads_them() {
    for expected in golden().answers {
        let answer = Answer::all(expected.body).unwrap().remove(0);
        assert_eq!(
            (answer.text.as_str(), answer.finish_reason.as_deref()),
            (expected.text.as_str(), Some(expected.finish_reason.as_str()))
        );
        let trace = answer.trace.unwrap();
        assert_eq!(trace.texts.as_ref(), Some(&expected.token_texts), "{}", expected.text);
        assert_eq!((trace.logprobs, trace.ids), (expected.token_logprobs, expected.tokens), "{}", expected.text);
        assert_eq!((trace.top, trace.top_texts), (expected.top_logprobs, expected.top_texts), "{}", expected.text);
    }
}

#[test]
fn entailment_is_shared_out_as_numpy_does_and_an_unclear_answer_is_neutral() {
    for Chosen { top, shares } in golden().choices {
        let body = json!({ "choices": [{ "message": { "content": "Well" }, "logprobs": { "content": [
            { "token": "Well", "logprob": -0.5, "top_logprobs": top }] } }] });
        let mock = Mock::start(move |_| Reply::Json(body.clone()));
        let judge = Served::new(Judge::new(remote(&mock, Endpoint::Chat), true, 0), 2);
        let found = judge.judge(&[("p", "h"), ("h", "p")]).unwrap();
        let [entailment, neutral, contradiction] = shares.unwrap_or([0.0, 1.0, 0.0]);
        for judged in found {
            let differences = [judged.entailment - entailment, judged.neutral - neutral, judged.contradiction - contradiction];
            assert!(differences.iter().all(|difference| difference.abs() < 1e-12), "{judged:?} {shares:?}");
        }
        assert_eq!(judge.unclear(), if shares.is_none() { 2 } else { 0 });
    }
}

/// Says what the question asks for, by its last line.
fn opinionated(asked: &Asked) -> Reply {
    let asking = openai::prompt(asked);
    let word = if asking.contains("true or false") {
        if asking.contains("ideas") { "False" } else { "True" }
    } else if asking.contains("number from 0 to 1") {
        "0.75"
    } else if asking.contains("Context: yes") {
        "Yes"
    } else if asking.contains("Context: no") {
        "No"
    } else {
        "Perhaps"
    };
    Reply::Json(saying(asked, &[word]))
}

#[test]
fn a_judge_fills_in_every_opinion() {
    let line = r#"{"id":"a","prompt":"p","response":"One is odd. Two is even.","judged":{"verbalised":0.1},
        "samples":[{"text":"yes"},{"text":"no"},{"text":"may be"},{"text":"yes"}]}"#;
    let record: Record = serde_json::from_str(line).unwrap();
    for endpoint in [Endpoint::Chat, Endpoint::Completion] {
        let mock = Mock::start(opinionated);
        let judge = Judge::new(remote(&mock, endpoint), true, 0);
        let judged = judge.judged(&record, &Opinion::ALL).unwrap();
        assert_eq!(judged.verbalised, Some(0.75));
        // The token asked for has e^-0.1, nothing else of the options any.
        assert_eq!((judged.p_true, judged.p_true_sampling), (Some(1.0), Some(0.0)));
        assert_eq!(judged.support, Some(vec![vec![0.0, 1.0, 0.5, 0.0]; 2]));
        assert_eq!(mock.asked().len(), 3 + 2 * 3, "equal samples are asked about once");
        let only = judge.judged(&record, &[Opinion::PTrue]).unwrap();
        assert_eq!((only.p_true, only.verbalised, only.support), (Some(1.0), Some(0.1), None), "the others stay as they were");
    }
}

#[test]
fn a_judge_that_fails_names_the_server() {
    let mock = Mock::start(|_| Reply::Status(404, "", r#"{"error":{"message":"no such model"}}"#.into()));
    let judge = Served::new(Judge::new(remote(&mock, Endpoint::Chat), true, 0), 2);
    let told = judge.judge(&[("p", "h")]).unwrap_err().to_string();
    assert!(told.starts_with("server: http://127.0.0.1:") && told.ends_with("answers 404: no such model"), "{told}");
}
