//! Answers of a server: both endpoints, every fault.

#[path = "support/openai.rs"]
mod openai;

use std::time::{Duration, Instant};

use coppice_detect::Record;
use coppice_detect::server::{Access, Collector, Endpoint, Plan, Question, Remote, Retry, Server, ServerError, read_questions};
use openai::{Asked, Mock, Reply, honest, saying};
use serde_json::{Map, Value, json};

const QUICK: Retry = Retry { retries: 2, base: Duration::from_millis(2), cap: Duration::from_secs(2) };
/// Longest wait for an answer; a hanging server hangs longer.
const TIMEOUT: Duration = Duration::from_millis(800);

fn plan(samples: usize) -> Plan {
    Plan {
        samples,
        temperature: 1.0,
        max_new_tokens: 16,
        seed: 5,
        top_logprobs: Some(2),
        system: None,
        variants: Vec::new(),
        wordings: 1,
        variant_samples: 1,
    }
}

fn remote(mock: &Mock, endpoint: Endpoint, retry: Retry) -> Remote {
    let access = Access { address: mock.address.clone(), key: Some("sk-secret".into()), timeout: TIMEOUT, retry };
    Remote::open(Server::new(access).unwrap(), None, endpoint, Map::new()).unwrap()
}

fn collector(mock: &Mock, endpoint: Endpoint, samples: usize) -> Collector {
    Collector { remote: remote(mock, endpoint, QUICK), plan: plan(samples) }
}

fn question(line: &str) -> Question {
    read_questions(line.as_bytes()).remove(0).unwrap()
}

fn record(mock: &Mock, endpoint: Endpoint, samples: usize) -> Result<Record, ServerError> {
    collector(mock, endpoint, samples).record(&question(r#"{"id":"a","prompt":"why"}"#))
}

fn texts(record: &Record) -> Vec<&str> {
    record.sample_texts()
}

#[test]
fn both_endpoints_give_the_same_record() {
    let mock = Mock::honest();
    let of = |endpoint| {
        let record = record(&mock, endpoint, 3).unwrap();
        Record { source: None, ..record }
    };
    let record = of(Endpoint::Chat);
    assert_eq!(record, of(Endpoint::Completion));
    assert_eq!((record.response.as_str(), texts(&record)), ("On why", vec!["Idea 6 on why", "Idea 7 on why", "Idea 8 on why"]));
    assert_eq!(record.token_texts, Some(vec!["On".to_owned(), " why".to_owned()]));
    assert_eq!(record.token_logprobs, Some(vec![-0.1, -0.2]));
    assert_eq!(record.top_logprobs, Some(vec![vec![(-1, -0.1), (-1, -3.0)], vec![(-1, -0.2), (-1, -3.0)]]));
    assert_eq!(record.top_texts.unwrap()[1], [" why", " other"]);
    assert_eq!((record.tokens, record.token_entropies), (None, None), "nothing is made up that the server did not send");
    assert_eq!(record.samples[0].token_logprobs.as_ref().map(Vec::len), Some(4));
}

#[test]
fn the_key_goes_out_and_the_source_tells_all_but_it() {
    let mock = Mock::owned_by("vllm", |asked| Reply::Json(honest(asked)));
    let record = record(&mock, Endpoint::Chat, 1).unwrap();
    let source = record.source.unwrap();
    assert_eq!((&source["server"], &source["model"], &source["temperature"]), (&json!("vLLM"), &json!("m"), &json!(1.0)));
    assert_eq!((&source["finish_reason"], &source["sample_finish_reasons"]), (&json!("stop"), &json!(["stop"])));
    assert!(source["logprobs"].as_str().unwrap().contains("--logprobs-mode") && !source.to_string().contains("secret"));
    let asked = mock.asked();
    assert!(asked.iter().all(|asked| asked.headers.contains("authorization: bearer sk-secret\r\n")));
    assert_eq!((&asked[0].body["temperature"], &asked[0].body["top_k"], &asked[1].body["top_k"]), (&json!(0.0), &json!(-1), &json!(-1)));
    assert_eq!((&asked[0].body["top_logprobs"], &asked[1].body["top_logprobs"]), (&json!(2), &json!(1)), "samples need no alternatives");
}

/// Servers that cannot give several answers at once: with 400, with 500, by giving one, by giving fewer.
#[test]
fn a_server_that_gives_one_answer_a_request_is_asked_again() {
    type Several = fn(&Asked) -> Reply;
    let refusals: [Several; 4] = [
        |_| Reply::Status(400, "", r#"{"error":{"message":"n must be 1"}}"#.into()),
        |_| Reply::Status(500, "", r#"{"error":{"message":"Only one completion choice is allowed"}}"#.into()),
        |asked| Reply::Json(saying(asked, &["Idea 6 on why"])),
        |asked| Reply::Json(saying(asked, &["Idea 6 on why", "Idea 7 on why"])),
    ];
    for refusal in refusals {
        let mock = Mock::start(move |asked| if asked.body["n"].is_null() { Reply::Json(honest(asked)) } else { refusal(asked) });
        let collector = collector(&mock, Endpoint::Chat, 4);
        let ask = |id: &str| collector.record(&question(&format!(r#"{{"id":"{id}","prompt":"why"}}"#))).unwrap();
        let expected = ["Idea 6 on why", "Idea 7 on why", "Idea 8 on why", "Idea 9 on why"];
        assert_eq!((texts(&ask("a")), texts(&ask("b"))), (expected.to_vec(), expected.to_vec()));
        let several = mock.asked().iter().filter(|asked| asked.body["n"].is_u64()).count();
        assert!(several <= 2, "the server has shown what it does");
    }
    let generous = Mock::start(|asked| Reply::Json(saying(asked, &["a", "b", "c", "d", "e"])));
    assert_eq!(texts(&record(&generous, Endpoint::Chat, 2).unwrap()).len(), 2);
}

/// Every fault of the first tries; the third is answered.
#[test]
fn what_may_pass_is_tried_again() {
    let faults: [fn(&Asked) -> Reply; 8] = [
        |_| Reply::Status(429, "Retry-After: 0\r\n", "slow down".into()),
        |_| Reply::Status(500, "", String::new()),
        |_| Reply::Status(502, "", "<html>Bad gateway</html>".into()),
        |_| Reply::Status(503, "", "loading".into()),
        |_| Reply::Status(504, "", String::new()),
        |_| Reply::Hang(2 * TIMEOUT),
        |asked| Reply::Cut(honest(asked)),
        |_| Reply::Drop,
    ];
    for fault in faults {
        let mock = Mock::start(move |asked| if asked.number < 2 { fault(asked) } else { Reply::Json(honest(asked)) });
        assert_eq!(record(&mock, Endpoint::Chat, 0).unwrap().response, "On why");
        assert_eq!(mock.asked().len(), 3);
        let always = Mock::start(fault);
        let error = record(&always, Endpoint::Chat, 0).unwrap_err();
        assert!(error.to_string().starts_with("3 tries failed, the last because http://127.0.0.1:"), "{error}");
        assert_eq!(always.asked().len(), 3);
    }
}

#[test]
fn a_wait_that_the_server_asks_for_is_kept() {
    let mock = Mock::start(|asked| match asked.number {
        0 => Reply::Status(429, "Retry-After: 1\r\n", String::new()),
        _ => Reply::Json(honest(asked)),
    });
    let begin = Instant::now();
    assert!(record(&mock, Endpoint::Chat, 0).is_ok() && begin.elapsed() >= Duration::from_secs(1));
    let patient = Mock::start(|_| Reply::Status(429, "Retry-After: 3600\r\n", "come back in an hour".into()));
    let begin = Instant::now();
    let told = record(&patient, Endpoint::Chat, 0).unwrap_err().to_string();
    assert!(told.contains("429: come back in an hour") && begin.elapsed() < Duration::from_secs(1), "{told}");
}

/// Faults that no second try mends: the sentence, from one request.
#[test]
fn what_will_not_pass_is_told_at_once() {
    let with = |token: Value| json!({ "choices": [{ "message": { "content": "x" }, "logprobs": { "content": [token] } }] });
    let empty = json!({ "choices": [{ "message": { "content": "" }, "finish_reason": "length", "logprobs": { "content": [] } }] });
    let bare = json!({ "choices": [{ "message": { "content": "x" } }] });
    let cases: [(Reply, &str); 13] = [
        (Reply::Text("<!doctype html><title>Welcome</title>".into()), "a web page, not JSON"),
        (Reply::Text("hello".into()), "no JSON: expected value"),
        (Reply::Text(r#"{"choices":[{"logprobs":{"content":[{"logprob":NaN}]}}]}"#.into()), "NaN or Infinity, which JSON has not"),
        (Reply::Json(json!({ "result": 1 })), "missing field `choices`"),
        (Reply::Json(json!({ "choices": [] })), "`choices` is empty"),
        (Reply::Json(json!({ "error": { "message": "out of credit" } })), "out of credit"),
        (Reply::Json(bare), "no log-probabilities"),
        (Reply::Json(with(json!({ "token": "x", "logprob": null }))), "token 0 has no log-probability"),
        (Reply::Json(with(json!({ "token": "x", "logprob": 0.5 }))), "token_logprobs[0] is 0.5: a log-probability is at most 0"),
        (Reply::Json(empty), "the response is empty (finish_reason length)"),
        (Reply::Status(400, "", r#"{"error":{"message":"no such parameter"}}"#.into()), "answers 400: no such parameter"),
        (Reply::Status(401, "", r#"{"error":{"message":"no key sk-secret"}}"#.into()), "answers 401: no key ..."),
        (Reply::Status(302, "Location: http://elsewhere/\r\n", String::new()), "redirects to \"http://elsewhere/\""),
    ];
    for (reply, expected) in cases {
        let mock = Mock::start(move |_| reply.clone());
        let told = record(&mock, Endpoint::Chat, 0).unwrap_err().to_string();
        assert!(told.contains(expected) && !told.contains('\n') && !told.contains("secret"), "{told}");
        assert_eq!(mock.asked().len(), 1, "{told}");
    }
}

#[test]
fn an_answer_without_end_is_not_read() {
    let mock = Mock::start(|_| Reply::Text(format!("\"{}\"", "x".repeat(4 << 20))));
    assert!(matches!(record(&mock, Endpoint::Chat, 0), Err(ServerError::TooLarge { limit, .. }) if limit < 2 << 20));
}

#[test]
fn a_server_that_is_not_there_is_told_when_it_is_opened() {
    let address = { format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()) };
    let access = Access { address, key: None, timeout: Duration::from_secs(1), retry: QUICK };
    let error = Remote::open(Server::new(access).unwrap(), Some("m".into()), Endpoint::Chat, Map::new()).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().starts_with("cannot reach http://127.0.0.1:"), "{error}");
}

#[test]
fn a_response_that_is_brought_is_kept_and_only_samples_are_drawn() {
    let mock = Mock::honest();
    let line =
        r#"{"id":"a","prompt":"why","response":"r","label":1,"token_logprobs":[-2],"samples":[{"text":"s"}],"source":{"person":"p"}}"#;
    let record = collector(&mock, Endpoint::Chat, 3).record(&question(line)).unwrap();
    assert_eq!((record.response.as_str(), record.label, record.token_logprobs.clone()), ("r", Some(1), Some(vec![-2.0])));
    assert_eq!(texts(&record), ["s", "Idea 6 on why", "Idea 7 on why"]);
    assert_eq!(record.source.as_ref().unwrap()["person"], "p");
    assert_eq!(record.source.unwrap()["samples_from"]["model"], "m");
    assert_eq!(mock.asked().len(), 1);
}

#[test]
fn variants_are_answered_at_their_own_temperature() {
    let mock = Mock::honest();
    let mut collector = collector(&mock, Endpoint::Chat, 1);
    collector.plan = Plan { variants: vec!["persona".into(), "temperature".into()], wordings: 2, variant_samples: 3, ..collector.plan };
    collector.plan.system = Some("Be brief.".into());
    let record = collector.record(&question(r#"{"messages":[{"role":"user","content":"Who was Ada?"}]}"#)).unwrap();
    let kinds: Vec<_> =
        record.variants.iter().map(|variant| (variant.kind.as_deref(), variant.temperature, variant.samples.len())).collect();
    let (persona, temperature) = (Some("persona"), Some("temperature"));
    assert_eq!(kinds, [(persona, None, 3), (persona, None, 3), (temperature, Some(0.25), 3), (temperature, Some(1.5), 3)]);
    assert!(record.variants[0].samples[0].text.ends_with(&record.variants[0].prompt));
    let asked: Vec<Value> = mock.asked().iter().map(|asked| asked.body["temperature"].clone()).collect();
    assert_eq!(asked, [json!(0.0), json!(1.0), json!(1.0), json!(1.0), json!(0.25), json!(1.5)]);
    assert!(mock.asked().iter().all(|asked| asked.body["messages"][0] == json!({ "role": "system", "content": "Be brief." })));
}
