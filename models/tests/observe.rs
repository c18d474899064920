//! What decoding leaves beside tokens, against transformers (eager) and lm-polygraph's estimators (`golden/observe.py`).

mod support;

use std::collections::BTreeMap;

use coppice_models::generate::{Options, Trace, generate};
use coppice_models::next_token::{continuation_logprobs, next_tokens};
use coppice_models::observe::{HiddenSummary, Observe};
use coppice_models::sampling::Sampling;
use coppice_models::score::{score, unconditional};
use coppice_models::{Checkpoint, Model};
use serde::Deserialize;
use support::{checkpoint, golden};
use tch::{Device, Kind};

/// Largest difference allowed, of a value and in parts of it.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    responses: Vec<Response>,
    prompts: Vec<Vec<i64>>,
    continuations: Vec<Vec<i64>>,
    following: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Response {
    prompt: Vec<i64>,
    tokens: Vec<i64>,
    rauq: Vec<f64>,
    score: Vec<f64>,
    lookback: Vec<f64>,
    unconditional: Vec<f64>,
    hidden: Vec<Hidden>,
    self_certainties: Vec<f64>,
    renyi: Vec<f64>,
}

#[derive(Deserialize)]
struct Hidden {
    layer: usize,
    mean: Vector,
    last: Vector,
    before_last: Vector,
    prompt: Vector,
}

#[derive(Deserialize)]
struct Vector {
    first: Vec<f64>,
    norm: f64,
}

fn each_case(check: impl Fn(&str, &Case, &Model)) {
    let golden: Golden = golden::read("observe");
    assert!(golden.cases.len() > 3);
    for (name, case) in golden.cases {
        let folder = checkpoint::write(&golden::read(&format!("parity/{name}")));
        let opened = Checkpoint::open(folder.path()).expect("a checkpoint");
        check(&name, &case, &Model::load(&opened, Kind::Float, Device::Cpu).expect("a model"));
    }
}

/// As many values as expected, each within [`TOLERANCE`] of it.
#[track_caller]
fn near(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * b.abs().max(1.0), "{what}, place {place}: {a} is not {b}");
    }
}

#[track_caller]
fn vectors_match(what: &str, found: &[f32], expected: &Vector) {
    let found: Vec<f64> = found.iter().copied().map(f64::from).collect();
    near(what, &found[..expected.first.len()], &expected.first);
    near(what, &[found.iter().map(|value| value * value).sum::<f64>().sqrt()], &[expected.norm]);
}

/// Everything there is, of every layer.
fn everything(model: &Model) -> Observe {
    Observe { attention: true, hidden_layers: (0..model.config.num_hidden_layers).collect(), distribution: true }
}

fn responses(case: &Case, model: &Model, options: &Options) -> Vec<Vec<Trace>> {
    let prompts: Vec<_> = case.responses.iter().map(|response| response.prompt.clone()).collect();
    generate(model, &prompts, options).expect("traces")
}

fn matches(name: &str, trace: &Trace, expected: &Response) {
    assert_eq!(trace.tokens, expected.tokens, "{name}");
    let attention = trace.attention.as_ref().expect("observed");
    near(&format!("{name}, RAUQ"), &attention.rauq, &expected.rauq);
    near(&format!("{name}, attention score"), &attention.score, &expected.score);
    near(&format!("{name}, lookback ratio"), &attention.lookback, &expected.lookback);
    near(&format!("{name}, self-certainty"), &trace.divergences.self_certainties, &expected.self_certainties);
    near(&format!("{name}, Rényi"), &trace.divergences.renyi, &expected.renyi);
    assert_eq!(trace.hidden.len(), expected.hidden.len());
    trace.hidden.iter().zip(&expected.hidden).for_each(|(found, expected)| hidden_match(name, found, expected));
}

fn hidden_match(name: &str, found: &HiddenSummary, expected: &Hidden) {
    let what = format!("{name}, layer {}", found.layer);
    assert_eq!(found.layer, expected.layer);
    vectors_match(&format!("{what}, mean"), &found.mean, &expected.mean);
    vectors_match(&format!("{what}, last"), &found.last, &expected.last);
    vectors_match(&format!("{what}, before last"), &found.before_last, &expected.before_last);
    vectors_match(&format!("{what}, prompt"), &found.prompt, &expected.prompt);
}

/// Two prompts of different lengths, two samples each, as one batch.
#[test]
fn batches_leave_what_single_forward_passes_show() {
    each_case(|name, case, model| {
        let options = Options { max_new_tokens: case.responses[0].tokens.len(), samples: 2, ..Options::default() };
        for (traces, expected) in responses(case, model, &Options { observe: everything(model), ..options }).iter().zip(&case.responses) {
            traces.iter().for_each(|trace| matches(name, trace, expected));
        }
    });
}

/// A stop id comes after its response's last token was run through the model, a stop rule before: states are of all tokens either way, and
/// attention of those that predicted something.
#[test]
fn a_response_is_observed_whole_however_it_ends() {
    each_case(|name, case, model| {
        let observe = everything(model);
        let cut = |count: usize| Options { max_new_tokens: count, observe: observe.clone(), ..Options::default() };
        let four = |tokens: &[i64]| tokens.len() == 4;
        let by_length = responses(case, model, &cut(4));
        let by_rule = responses(case, model, &Options { stop_when: Some(&four), ..cut(9) });
        for (a, b) in by_length.iter().flatten().zip(by_rule.iter().flatten()) {
            same(name, a, b);
        }
        let stop_ids = vec![case.responses[0].tokens[4]];
        assert!(!case.responses[0].tokens[..4].contains(&stop_ids[0]), "{name}");
        let prompt = std::slice::from_ref(&case.responses[0].prompt);
        let stopped = generate(model, prompt, &Options { stop_ids, ..cut(9) }).expect("traces").remove(0).remove(0);
        near(name, &states(&stopped), &states(&by_length[0][0]));
        let (stopped, longer) = (stopped.attention.expect("observed"), responses(case, model, &cut(5)).remove(0).remove(0));
        let longer = longer.attention.expect("observed");
        near(name, &[stopped.score, stopped.lookback].concat(), &[longer.score, longer.lookback].concat());
        near(name, &stopped.rauq, &by_length[0][0].attention.as_ref().expect("observed").rauq);
    });
}

/// All that is kept of hidden states.
fn states(trace: &Trace) -> Vec<f64> {
    let vectors = |layer: &HiddenSummary| [&layer.mean[..], &layer.last, &layer.before_last, &layer.prompt].concat();
    trace.hidden.iter().flat_map(vectors).map(f64::from).collect()
}

fn same(name: &str, a: &Trace, b: &Trace) {
    assert_eq!((a.tokens.len(), &a.tokens), (4, &b.tokens), "{name}");
    assert_eq!((&a.attention, &a.hidden), (&b.attention, &b.hidden), "{name}");
}

/// What else is asked for does not change what attention comes to.
#[test]
fn attention_is_the_same_with_states_and_without() {
    each_case(|name, case, model| {
        let options = Options { max_new_tokens: 4, samples: 2, observe: everything(model), ..Options::default() };
        let alone = Options { observe: Observe { attention: true, ..Observe::default() }, ..options.clone() };
        let (all, alone) = (responses(case, model, &options).concat(), responses(case, model, &alone).concat());
        all.iter().zip(&alone).for_each(|(all, alone)| assert_eq!(all.attention, alone.attention, "{name}"));
        let one = responses(case, model, &Options { max_new_tokens: 1, ..options }).concat().remove(0);
        let attention = one.attention.expect("a token");
        near(name, &attention.rauq, &vec![1.0 - one.logprobs[0]; attention.rauq.len()]);
        assert!(attention.score.is_empty() && attention.lookback.is_empty() && one.hidden[0].before_last == one.hidden[0].prompt);
    });
}

#[test]
fn observing_changes_no_sample_and_nothing_is_kept_unasked() {
    each_case(|name, case, model| {
        let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
        let options = Options { max_new_tokens: 6, samples: 3, sampling, seed: 5, ..Options::default() };
        let plain = responses(case, model, &options);
        let watched = responses(case, model, &Options { observe: everything(model), ..options });
        for (plain, watched) in plain.iter().flatten().zip(watched.iter().flatten()) {
            assert_eq!((&plain.tokens, &plain.logprobs), (&watched.tokens, &watched.logprobs), "{name}");
            assert!(plain.attention.is_none() && plain.hidden.is_empty() && plain.divergences.renyi.is_empty());
        }
    });
}

#[test]
fn an_empty_response_shows_the_prompt_alone() {
    each_case(|_, case, model| {
        let first = &case.responses[0];
        let options = Options { stop_ids: vec![first.tokens[0]], observe: everything(model), ..Options::default() };
        let trace = generate(model, std::slice::from_ref(&first.prompt), &options).expect("a trace").remove(0).remove(0);
        assert!(trace.tokens.is_empty() && trace.attention.is_none());
        for (found, expected) in trace.hidden.iter().zip(&first.hidden) {
            vectors_match("prompt", &found.prompt, &expected.prompt);
            assert!(found.mean.is_empty() && found.last.is_empty() && found.before_last.is_empty());
        }
    });
}

#[test]
fn responses_without_their_prompts_match() {
    each_case(|name, case, model| {
        let told: Vec<_> = case.responses.iter().map(|response| response.tokens.clone()).collect();
        let found = unconditional(model, &[told.clone(), vec![vec![]]].concat(), Some(0)).expect("scores");
        found.iter().zip(&case.responses).for_each(|(found, expected)| near(name, found, &expected.unconditional));
        assert!(found[2].is_empty());
        let bare = unconditional(model, &told[..1], None).expect("scores").remove(0);
        assert_eq!((bare.len(), bare[0]), (told[0].len(), 0.0));
    });
}

#[test]
fn continuations_match() {
    each_case(|name, case, model| {
        let found = continuation_logprobs(model, &case.prompts, &case.continuations).expect("log-probabilities");
        assert_eq!(found.len(), case.prompts.len());
        found.iter().zip(&case.following).for_each(|(found, expected)| near(name, found, expected));
    });
}

/// Groups of several prompts and of one, that share much, little and nothing, against a whole forward pass of each.
#[test]
fn shared_beginnings_change_nothing() {
    let begin: Vec<i64> = (20..40).collect();
    let of = |rest: &[i64]| [&begin[..], rest].concat();
    let groups = vec![vec![of(&[1, 2, 3]), of(&[4]), of(&[])], vec![of(&[9, 8])], vec![vec![3, 1, 5], vec![4, 1]]];
    each_case(|name, _, model| {
        let found = next_tokens(model, &groups, &[6, 17], &[]).expect("what follows");
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 2]);
        for (prompt, next) in groups.iter().flatten().zip(found.iter().flatten()) {
            let told =
                |id: i64| score(model, &[[&prompt[..], &[id]].concat()]).expect("scores")[0].logprobs[prompt.len()].expect("not the first");
            near(name, &next.logprobs, &[told(6), told(17)]);
            let others = next_tokens(model, &[vec![prompt.clone()]], &[next.best], &[next.best]).expect("what follows").remove(0).remove(0);
            assert!(others.best != next.best && others.logprobs[0] >= next.logprobs[0].max(next.logprobs[1]) - TOLERANCE);
        }
    });
}

#[test]
fn what_cannot_be_observed_is_refused_with_a_sentence() {
    each_case(|_, case, model| {
        let layers = model.config.num_hidden_layers;
        let observe = Observe { hidden_layers: vec![layers], ..Observe::default() };
        let told = generate(model, &case.prompts, &Options { observe, ..Options::default() }).unwrap_err().to_string();
        assert!(told.contains(&format!("no hidden layer {layers}")), "{told}");
        assert!(next_tokens(model, &[vec![vec![1]]], &[-1], &[]).unwrap_err().to_string().contains("token id -1"));
        assert!(continuation_logprobs(model, &case.prompts, &[vec![]]).unwrap_err().to_string().contains("no token"));
        assert!(next_tokens(model, &[], &[1], &[]).expect("nothing").is_empty());
    });
}
