//! The accounting against torch's own counter, transformers' parameter counts, and the published sizes.

mod support;

use std::collections::BTreeMap;

use coppice_models::config::{Config, Gate, MoeConfig};
use coppice_models::flops::{Account, Setting, distinct_experts};
use coppice_models::tensors::expected;
use serde::Deserialize;
use serde_json::Value;
use support::golden;

#[derive(Deserialize)]
struct Golden {
    counted: BTreeMap<String, Counted>,
    published: BTreeMap<String, Published>,
}

/// What `FlopCounterMode` saw: it counts matrix products, each attention product in full.
#[derive(Deserialize)]
struct Counted {
    config: Value,
    length: u64,
    forward: f64,
    backward: f64,
    parameters: u64,
}

#[derive(Deserialize)]
struct Published {
    config: Value,
    parameters: u64,
}

fn config(value: &Value) -> Config {
    Config::from_json(value).expect("a golden configuration")
}

fn account(config: &Config, setting: Setting) -> Account {
    Account::new(config, setting).expect("an account")
}

/// The 1.6B with `experts` routed experts of `1/granularity` of the MLP's width in the given layers.
fn upcycled(experts: i64, granularity: i64, top_k: i64, layers: Vec<usize>) -> Config {
    let mut config = published("1_6b").0;
    let expert_intermediate_size = config.intermediate_size / granularity;
    config.moe = Some(MoeConfig {
        num_experts: experts,
        experts_per_token: top_k,
        gate: Gate::TopkSoftmax,
        layers,
        expert_intermediate_size,
        ..MoeConfig::default()
    });
    config
}

fn published(name: &str) -> (Config, u64) {
    let golden: Golden = golden::read("flops");
    (config(&golden.published[name].config), golden.published[name].parameters)
}

fn all() -> Vec<usize> {
    (0..24).collect()
}

#[test]
fn flops_are_what_torch_counts() {
    for (name, case) in golden::read::<Golden>("flops").counted {
        let account = account(&config(&case.config), Setting { context: case.length, ..Setting::default() });
        let s = case.length as f64;
        let whole = 2.0 * account.matmul_parameters as f64 * s + account.attention_flops * s * s;
        assert_eq!(whole, case.forward, "{name}");
        let causal = whole - account.attention_flops * s * (s - 1.0) / 2.0;
        assert_eq!(account.forward_flops * s, causal, "{name}");
        assert_eq!(account.training_flops * s / causal, 1.0 + case.backward / case.forward, "{name}");
        assert_eq!(account.parameters, case.parameters, "{name}");
    }
}

#[test]
fn parameters_are_what_transformers_allocates() {
    for name in ["1_6b", "3b", "12b"] {
        let (config, parameters) = published(name);
        assert_eq!(account(&config, Setting::default()).parameters, parameters, "{name}");
    }
    // The model cards: 3B-4E1T exactly; 1.6B without the biases of the layers' norms, 2 x 2048 x 24.
    assert_eq!(published("3b").1, 2_795_443_200);
    assert_eq!(published("1_6b").1, 1_644_417_024 + 98_304);
}

#[test]
fn parameters_are_those_of_the_checkpoint() {
    let golden: Golden = golden::read("flops");
    let mut configs: Vec<_> = golden.counted.values().map(|case| config(&case.config)).collect();
    configs.push(Config { tie_word_embeddings: true, ..configs[0].clone() });
    configs.push(Config { layer_norm_bias: false, ..configs[1].clone() });
    for config in configs {
        let tied = |name: &str| config.tie_word_embeddings && name == "lm_head.weight";
        let biasless = |name: &str| !config.layer_norm_bias && name.ends_with("norm.bias");
        let stored = expected(&config).into_iter().filter(|spec| !tied(&spec.name) && !biasless(&spec.name));
        let stored: i64 = stored.map(|spec| spec.numel()).sum();
        assert_eq!(account(&config, Setting::default()).parameters, stored as u64);
    }
}

/// Rows of "Stable LM 2 1.6B, upcycled", computed by hand from the published sizes: total and active matmul parameters (billions), forward
/// and training GFLOPs a token at 4096, bf16 weights and 16-byte training state (GiB), decoded tokens per second at 4.8 TB/s.
#[test]
fn upcycled_sizes() {
    let alternate = (0..24).step_by(2).collect();
    let rows = [
        (published("1_6b").0, [1.645, 1.439, 3.28, 9.84, 3.1, 24.5, 1668.0]),
        (upcycled(8, 1, 1, all()), [7.458, 1.439, 3.28, 9.84, 13.9, 111.1, 1668.0]),
        (upcycled(8, 1, 2, all()), [7.458, 2.270, 4.94, 14.83, 13.9, 111.1, 1057.0]),
        (upcycled(8, 1, 2, alternate), [4.551, 1.854, 4.11, 12.33, 8.5, 67.8, 1294.0]),
        (upcycled(4, 1, 2, all()), [4.136, 2.269, 4.94, 14.82, 7.7, 61.6, 1058.0]),
        (upcycled(64, 8, 8, all()), [7.461, 1.442, 3.29, 9.86, 13.9, 111.2, 1665.0]),
        (upcycled(32, 4, 4, all()), [7.459, 1.440, 3.28, 9.85, 13.9, 111.2, 1666.0]),
    ];
    let (giga, gibi) = (1e9, (1_u64 << 30) as f64);
    for (config, [total, active, forward, training, weights, state, rate]) in rows {
        let a = account(&config, Setting::default());
        let weights_only = a.decode_bytes - a.cache_bytes_per_token * 4096.0;
        let found = [a.parameters as f64, a.matmul_parameters as f64, a.forward_flops, a.training_flops].map(|value| value / giga);
        close(&found, &[total, active, forward, training], 0.006);
        close(&[a.weight_bytes / gibi, a.training_state_bytes / gibi], &[weights, state], 0.051);
        close(&[4.8e12 / weights_only], &[rate], 1.0);
    }
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance), "{found:?} is not {expected:?}");
}

#[test]
fn the_1_6b_dense() {
    let a = account(&published("1_6b").0, Setting::default());
    assert_eq!((a.matmul_parameters, a.active_parameters), (1_438_646_272, 1_644_515_328));
    assert_eq!((a.attention_flops, a.cache_bytes_per_token), (196_608.0, 196_608.0));
    assert_eq!(a.decode_flops, 2.0 * 1_438_646_272.0 + 196_608.0 * 4096.0);
    let shares = [a.breakdown.mlp, a.breakdown.attention, a.breakdown.head].map(|part| 100.0 * part as f64 / a.matmul_parameters as f64);
    close(&shares, &[57.7, 28.0, 14.3], 0.05);
}

#[test]
fn prefill_computes_one_head() {
    let config = published("1_6b").0;
    let a = account(&config, Setting { context: 512, ..Setting::default() });
    let heads = 2.0 * (config.vocab_size * config.hidden_size) as f64;
    assert_eq!(a.prefill_flops * 512.0, a.forward_flops * 512.0 - 511.0 * heads);
    let one = account(&config, Setting { context: 1, ..Setting::default() });
    assert_eq!((one.prefill_flops, one.decode_flops), (one.forward_flops, one.forward_flops));
}

#[test]
fn a_batch_touches_more_experts() {
    assert_eq!(distinct_experts(8.0, 2.0, 1.0), 2.0);
    let a = account(&upcycled(8, 1, 2, all()), Setting { batch: 8, ..Setting::default() });
    // 8 (1 - 0.75^8), by hand.
    close(&[a.distinct_experts], &[7.199_096_679_687_5], 1e-12);
    let weights = a.decode_step_bytes - a.cache_bytes_per_token * 8.0 * 4096.0;
    close(&[weights / 1e9], &[13.2], 0.05);
    let measured = account(&upcycled(8, 1, 2, all()), Setting { batch: 8, measured_experts: Some(3.0), ..Setting::default() });
    assert_eq!(a.decode_step_bytes - measured.decode_step_bytes, 2.0 * 24.0 * (a.distinct_experts - 3.0) * 3.0 * 2048.0 * 5632.0);
}

#[test]
fn bytes_of_prefill_and_training() {
    let config = published("1_6b").0;
    let a = account(&config, Setting { context: 1000, batch: 2, ..Setting::default() });
    let (all, table, rows) = (a.parameters as f64, 100_352.0 * 2048.0, 2000.0 * 2048.0);
    let read = 2.0 * (all - table + rows);
    close(&[a.prefill_bytes], &[read / 2000.0 + a.cache_bytes_per_token], 1e-6);
    close(&[a.training_bytes], &[(2.0 * read + 28.0 * all) / 2000.0], 1e-6);
}

#[test]
fn impossible_settings_and_sizes_are_refused() {
    let config = published("1_6b").0;
    for setting in [
        Setting { context: 0, ..Setting::default() },
        Setting { batch: 0, ..Setting::default() },
        Setting { weight_bytes: 0.0, ..Setting::default() },
        Setting { cache_bytes: f64::NAN, ..Setting::default() },
    ] {
        assert!(Account::new(&config, setting).is_err());
    }
    let absurd = Config { hidden_size: 1 << 24, intermediate_size: 1 << 24, num_hidden_layers: 1024, ..config };
    assert!(Account::new(&absurd, Setting::default()).expect_err("refused").to_string().contains("2^53"));
}

#[test]
fn conventions_name_the_setting() {
    let a = account(&published("1_6b").0, Setting { context: 777, batch: 3, ..Setting::default() });
    let text = a.conventions().join("\n");
    assert!(text.contains("777") && text.contains("3 sequences") && text.contains("two FLOPs") && text.contains("router"));
}
