//! StableLM 2 against transformers (fp32, eager) on tiny random models: every variant, dialect, file layout and element type.

mod support;

use coppice_models::cache::Cache;
use coppice_models::generate::{Options, generate};
use coppice_models::model::Memory;
use coppice_models::sampling::Sampling;
use coppice_models::score::{check_causal, score};
use coppice_models::{Checkpoint, Model};
use support::golden::{Case, Scored};
use support::{checkpoint, golden};
use tch::{Device, Kind, Tensor};

fn greedy() -> Sampling {
    Sampling { temperature: 0.0, ..Sampling::default() }
}

/// Largest difference allowed between two natural log-probabilities.
const TOLERANCE: f64 = 1e-4;

fn each_case(check: impl Fn(&str, &Case, &Model)) {
    for (name, case) in golden::cases() {
        let folder = checkpoint::write(&case);
        let opened = Checkpoint::open(folder.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let model = Model::load(&opened, Kind::Float, Device::Cpu).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&name, &case, &model);
    }
}

#[test]
fn log_probabilities_match() {
    each_case(|name, case, model| {
        for expected in &case.sequences {
            scores_match(name, model, std::slice::from_ref(expected));
        }
    });
}

#[test]
fn padded_batches_match() {
    each_causal_case(|name, case, model| scores_match(name, model, &case.batch));
}

/// Without the models whose experts choose among all tokens at hand: padding and caches change what those compute.
fn each_causal_case(check: impl Fn(&str, &Case, &Model)) {
    each_case(|name, case, model| {
        if check_causal(&model.config).is_ok() {
            check(name, case, model);
        }
    });
}

fn scores_match(name: &str, model: &Model, expected: &[Scored]) {
    let ids: Vec<_> = expected.iter().map(|sequence| sequence.ids.clone()).collect();
    let found = score(model, &ids).expect("scores");
    for (found, expected) in found.iter().zip(expected) {
        let what = format!("{name}, {} tokens", expected.ids.len());
        assert_eq!((found.logprobs[0], found.entropies[0]), (None, None), "{what}");
        near(&what, found.logprobs[1..].iter().flatten(), &expected.target_logprobs);
        near(&what, found.entropies[1..].iter().flatten(), &expected.entropies[..expected.ids.len() - 1]);
    }
}

/// As many values as expected, each within [`TOLERANCE`].
fn near<'a>(what: &str, found: impl Iterator<Item = &'a f64>, expected: &[f64]) {
    let found: Vec<f64> = found.copied().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < TOLERANCE, "{what}, place {place}: {a} is not {b}");
    }
}

#[test]
fn next_token_distributions_match() {
    each_case(|name, case, model| {
        for expected in &case.sequences {
            let options = Options { max_new_tokens: 1, top_logprobs: 5, sampling: greedy(), ..Options::default() };
            let traces = generate(model, std::slice::from_ref(&expected.ids), &options).expect("a trace");
            let (tokens, logprobs): (Vec<i64>, Vec<f64>) = traces[0][0].top_logprobs[0].iter().copied().unzip();
            let what = format!("{name} after {} tokens", expected.ids.len());
            assert_eq!(tokens, expected.last_top.tokens, "{what}");
            near(&what, logprobs.iter(), &expected.last_top.logprobs);
            near(&what, traces[0][0].entropies.iter(), &expected.entropies[expected.ids.len() - 1..]);
        }
    });
}

/// Prompts of different lengths decoded as one batch, two samples each.
#[test]
fn greedy_text_is_identical() {
    each_causal_case(|name, case, model| {
        let prompts: Vec<_> = case.greedy.iter().map(|text| text.prompt.clone()).collect();
        let options = Options { max_new_tokens: 24, samples: 2, sampling: greedy(), ..Options::default() };
        for (traces, expected) in generate(model, &prompts, &options).expect("traces").iter().zip(&case.greedy) {
            assert!(traces.iter().all(|trace| trace.tokens == expected.tokens), "{name}: {traces:?} is not {expected:?}");
        }
    });
}

/// Token after token through the cache gives what the whole sequence at once gave transformers.
#[test]
fn cached_decoding_matches() {
    each_causal_case(|name, case, model| {
        let _guard = tch::no_grad_guard();
        for prefix in [1, 130] {
            let expected = case.sequences.last().expect("the longest sequence");
            let count = 40;
            let found = decoded(model, &expected.ids, prefix, count);
            near(&format!("{name}, {prefix} tokens cached"), found.iter(), &expected.target_logprobs[prefix..prefix + count]);
        }
    });
}

/// Log-probabilities of tokens `prefix + 1 ..` of `ids`, the first `prefix` prefilled and the next `count` fed one by one.
fn decoded(model: &Model, ids: &[i64], prefix: usize, count: usize) -> Vec<f64> {
    let mut cache = Cache::new(&model.config, &[prefix as i64], 1, count as i64, Kind::Float, Device::Cpu).expect("a cache");
    let prompt = Tensor::from_slice(&ids[..prefix]).unsqueeze(0);
    let mut pass = model.pass(prefix as i64, Memory::Prefill(&mut cache)).expect("a pass");
    let _prefilled = model.hidden(&prompt, &mut pass).expect("a prefill");
    let feed = |place: usize| {
        let hidden = model.decode(&Tensor::from_slice(&ids[place..=place]), &mut cache).expect("a step");
        let logprobs = model.logits(&hidden).expect("logits").log_softmax(-1, Kind::Float);
        logprobs.double_value(&[0, 0, ids[place + 1]])
    };
    (prefix..prefix + count).map(feed).collect()
}

/// A mixture of experts as transformers' `save_pretrained` wrote it after a training step there.
#[test]
fn a_model_fine_tuned_elsewhere_matches() {
    #[derive(serde::Deserialize)]
    struct Golden {
        sequences: Vec<Scored>,
    }
    let opened = Checkpoint::open(golden::folder().join("finetuned")).expect("a checkpoint");
    let model = Model::load(&opened, Kind::Float, Device::Cpu).expect("a model");
    let golden: Golden = golden::read("finetuned");
    assert!(opened.config.moe.is_some() && golden.sequences.len() > 1);
    for expected in &golden.sequences {
        scores_match("fine-tuned", &model, std::slice::from_ref(expected));
    }
    scores_match("fine-tuned, padded", &model, &golden.sequences);
}

#[test]
fn only_expert_choice_is_not_causal() {
    each_case(|name, case, model| {
        assert_eq!(check_causal(&model.config).is_err(), name.contains("expert_choice"), "{name}");
        assert_eq!(case.batch.is_empty(), name.contains("expert_choice"), "{name}");
    });
}

/// bf16 keeps eight bits, so single log-probabilities move; on average over a sequence they stay close to f32's.
#[test]
fn computing_in_bf16_stays_close() {
    for (name, case) in golden::cases().into_iter().filter(|(_, case)| case.config["model_type"] != "stablelm_moe") {
        let folder = checkpoint::write(&case);
        let opened = Checkpoint::open(folder.path()).expect("a checkpoint");
        let model = Model::load(&opened, Kind::BFloat16, Device::Cpu).expect("a model");
        let expected = case.sequences.last().expect("the longest sequence");
        let found = score(&model, std::slice::from_ref(&expected.ids)).expect("scores").remove(0);
        let differences = found.logprobs[1..].iter().flatten().zip(&expected.target_logprobs).map(|(a, b)| (a - b).abs());
        let mean = differences.sum::<f64>() / expected.target_logprobs.len() as f64;
        assert!(mean < 0.05, "{name}: {mean}");
    }
}
