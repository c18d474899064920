//! The cache and the batch change nothing: shared prefixes, padding and candidates against plain full forwards.

use coppice_models::candidates::candidate_logprobs;
use coppice_models::config::{Config, Gate};
use coppice_models::continuation::{Begun, Row};
use coppice_models::generate::{Options, generate};
use coppice_models::init::Random;
use coppice_models::sampling::Sampling;
use coppice_models::score::score;
use coppice_models::{Model, MoeConfig};
use tch::Device;

fn config(parallel: bool, kv: i64, moe: Option<MoeConfig>) -> Config {
    Config {
        vocab_size: 97,
        hidden_size: 64,
        intermediate_size: 96,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: kv,
        max_position_embeddings: 64,
        partial_rotary_factor: 0.25,
        rope_theta: 10_000.0,
        layer_norm_eps: 1e-5,
        layer_norm_bias: true,
        use_qkv_bias: true,
        qk_layernorm: parallel,
        use_parallel_residual: parallel,
        tie_word_embeddings: false,
        bos_token_id: None,
        eos_token_ids: vec![0],
        moe,
    }
}

fn models() -> Vec<Model> {
    let moe = MoeConfig {
        num_experts: 4,
        experts_per_token: 2,
        gate: Gate::SoftmaxTopk,
        layers: vec![0, 2],
        expert_intermediate_size: 32,
        ..MoeConfig::default()
    };
    let configs = [config(false, 4, None), config(true, 2, None), config(false, 2, Some(moe))];
    let build = |config: &Config| Model::new(&Random { config, seed: 3, std: 0.15, device: Device::Cpu }, config, Device::Cpu).unwrap();
    configs.iter().map(build).collect()
}

fn prompts() -> Vec<Vec<i64>> {
    vec![vec![5, 9, 33, 2, 71], vec![8], (10..30).collect()]
}

#[test]
fn every_traced_log_probability_is_that_of_the_full_forward() {
    for model in models() {
        let sampling = Sampling { temperature: 1.3, ..Sampling::default() };
        let options = Options { max_new_tokens: 9, samples: 3, sampling, seed: 4, top_logprobs: 4, ..Options::default() };
        for (prompt, traces) in prompts().iter().zip(generate(&model, &prompts(), &options).unwrap()) {
            assert_eq!(traces.len(), 3);
            for trace in traces {
                let whole = score(&model, &[[prompt.as_slice(), &trace.tokens].concat()]).unwrap().remove(0);
                for (place, logprob) in trace.logprobs.iter().enumerate() {
                    assert!((whole.logprobs[prompt.len() + place].unwrap() - logprob).abs() < 1e-4);
                    assert!((whole.entropies[prompt.len() + place].unwrap() - trace.entropies[place]).abs() < 1e-4);
                    assert!(trace.top_logprobs[place].is_sorted_by(|a, b| a.1 >= b.1));
                }
            }
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let model = models().remove(1);
    let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
    let options = Options { max_new_tokens: 6, samples: 2, sampling, seed: 11, ..Options::default() };
    let together = generate(&model, &prompts(), &options).unwrap();
    for (prompt, traces) in prompts().into_iter().zip(together) {
        let alone = generate(&model, &[prompt], &options).unwrap().remove(0);
        assert!(alone.iter().zip(&traces).all(|(a, b)| a.tokens == b.tokens));
    }
}

#[test]
fn the_first_sample_can_be_greedy_beside_drawn_ones() {
    let model = models().remove(0);
    let greedy = generate(&model, &prompts(), &Options { max_new_tokens: 7, ..Options::default() }).unwrap();
    let sampling = Sampling { temperature: 2.0, ..Sampling::default() };
    let mixed = Options { max_new_tokens: 7, samples: 3, sampling, greedy_first: true, ..Options::default() };
    for (alone, mixed) in greedy.iter().zip(generate(&model, &prompts(), &mixed).unwrap()) {
        assert_eq!(alone[0].tokens, mixed[0].tokens);
    }
}

#[test]
fn stop_ids_banned_ids_and_stop_rules_end_or_steer_a_response() {
    let model = models().remove(0);
    let free = generate(&model, &prompts()[..1], &Options { max_new_tokens: 5, ..Options::default() }).unwrap().remove(0).remove(0);
    let stopped = Options { max_new_tokens: 5, stop_ids: vec![free.tokens[2]], ..Options::default() };
    let stopped = generate(&model, &prompts()[..1], &stopped).unwrap().remove(0).remove(0);
    assert!(free.tokens.starts_with(&stopped.tokens) && stopped.tokens.len() <= 2);
    let banned = Options { max_new_tokens: 5, banned_ids: vec![free.tokens[0]], ..Options::default() };
    assert!(!generate(&model, &prompts()[..1], &banned).unwrap()[0][0].tokens.contains(&free.tokens[0]));
    let rule = |tokens: &[i64]| tokens.len() == 3;
    let ruled = Options { max_new_tokens: 5, stop_when: Some(&rule), ..Options::default() };
    assert_eq!(generate(&model, &prompts()[..1], &ruled).unwrap()[0][0].tokens, free.tokens[..3]);
}

#[test]
fn candidates_have_the_log_probability_of_the_full_forward() {
    for model in models() {
        let candidates = vec![vec![4], vec![6, 7, 8], vec![90, 3]];
        let found = candidate_logprobs(&model, &prompts()[0], &candidates).unwrap();
        for (candidate, found) in candidates.iter().zip(found) {
            let whole = score(&model, &[[prompts()[0].as_slice(), candidate].concat()]).unwrap().remove(0);
            let expected: f64 = whole.logprobs[prompts()[0].len()..].iter().flatten().sum();
            assert!((expected - found).abs() < 1e-4, "{expected} against {found}");
        }
    }
}

#[test]
fn what_cannot_be_generated_is_refused_with_a_sentence() {
    let model = models().remove(0);
    let told = |prompts: &[Vec<i64>], options: &Options| generate(&model, prompts, options).unwrap_err().to_string();
    assert!(told(&[vec![97]], &Options::default()).contains("token id 97 is outside"));
    assert!(told(&[vec![-1]], &Options::default()).contains("token id -1"));
    assert!(told(&[vec![]], &Options::default()).contains("no token"));
    assert!(told(&[vec![1; 65]], &Options::default()).contains("65 tokens"));
    assert!(told(&[vec![1; 64]], &Options::default()).contains("fills the whole context"));
}

#[test]
fn a_response_ends_with_the_context() {
    let model = models().remove(0);
    let traces = generate(&model, &[vec![1; 60]], &Options { max_new_tokens: 50, ..Options::default() }).unwrap();
    assert_eq!(traces[0][0].tokens.len(), 4);
}

/// A row, and what the full forward says of each of its continuations after `prefix`.
fn expected(model: &Model, prefix: &[i64], row: &Row) -> Vec<f64> {
    let of = |continuation: &Vec<i64>| {
        let whole = [prefix, &row.context, continuation].concat();
        let scored = score(model, std::slice::from_ref(&whole)).unwrap().remove(0);
        scored.logprobs[whole.len() - continuation.len()..].iter().flatten().sum()
    };
    row.continuations.iter().map(of).collect()
}

#[test]
fn continuations_after_a_shared_beginning_are_those_of_the_full_forward() {
    let rows = [
        Row { context: vec![3, 4], continuations: vec![vec![5]] },
        Row { context: (20..33).collect(), continuations: vec![(33..40).collect(), vec![1], vec![8, 8], (50..59).collect()] },
        Row { context: vec![3], continuations: vec![vec![60], vec![61], vec![3]] },
        Row { context: vec![9, 3], continuations: vec![vec![60, 2], vec![61, 5, 7]] },
    ];
    for model in models() {
        for prefix in [vec![], vec![7], (40..60).collect::<Vec<i64>>()] {
            let begun = Begun::new(&model, &prefix).unwrap();
            for rows in [&rows[..], &rows[..1]] {
                for (row, found) in rows.iter().zip(begun.continued(rows).unwrap()) {
                    let expected = expected(&model, &prefix, row);
                    assert_eq!(found.len(), expected.len());
                    let near = found.iter().zip(&expected).all(|(found, expected)| (found.logprob - expected).abs() < 1e-4);
                    assert!(near, "{found:?} against {expected:?}");
                }
            }
        }
    }
}

#[test]
fn the_greedy_answer_is_known_as_such() {
    for model in models() {
        let options = Options { max_new_tokens: 4, ..Options::default() };
        let prompt = vec![5, 9, 33];
        let answer = generate(&model, std::slice::from_ref(&prompt), &options).unwrap().remove(0).remove(0).tokens;
        let begun = Begun::new(&model, &prompt[..2]).unwrap();
        let ended = |last: i64| [&answer[..answer.len() - 1], &[last]].concat();
        let last = answer[answer.len() - 1];
        let row = Row { context: prompt[2..].to_vec(), continuations: vec![ended(last), ended((last + 1) % 97)] };
        let found = begun.continued(&[row]).unwrap().remove(0);
        assert_eq!((found[0].greedy, found[1].greedy), (true, false));
    }
}

#[test]
fn the_last_token_may_lie_beyond_the_context_as_it_is_not_run() {
    let model = &models()[0];
    let (prefix, context): (Vec<i64>, Vec<i64>) = ((1..51).collect(), (51..61).collect());
    let found = Begun::new(model, &prefix).unwrap().continued(&[Row { context, continuations: vec![vec![1, 2, 3, 4, 5]] }]).unwrap();
    let whole: Vec<i64> = (1..61).chain([1, 2, 3, 4]).collect();
    let logits = tch::no_grad(|| model.forward(&tch::Tensor::from_slice(&whole).unsqueeze(0))).unwrap().get(0);
    let distribution = logits.log_softmax(-1, tch::Kind::Double);
    let expected: f64 = (59..).zip(1..=5).map(|(place, id)| distribution.double_value(&[place, id])).sum();
    assert!((found[0][0].logprob - expected).abs() < 1e-4, "{found:?} against {expected}");
}

#[test]
fn rows_that_score_nothing_or_exceed_the_context_are_refused() {
    let model = &models()[0];
    let begun = Begun::new(model, &(1..61).collect::<Vec<i64>>()).unwrap();
    let refusal =
        |context: Vec<i64>, told: Vec<i64>| begun.continued(&[Row { context, continuations: vec![told] }]).unwrap_err().to_string();
    assert!(refusal(vec![1, 2], vec![]).contains("each of its continuations one token"));
    assert!(refusal(vec![], vec![1, 2]).contains("at least one token of context"));
    assert!(refusal(vec![1, 2, 3, 4], vec![5, 6]).contains("65 tokens, this model's context holds 64"));
    assert!(refusal(vec![1], vec![97]).contains("token id 97"));
}
