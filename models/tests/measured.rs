//! What runs is what torch counts, to the operation, and reads what the formulas say; formulas, executed products and torch's counter
//! are three ways to one number.

mod support;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coppice_models::config::Config;
use coppice_models::flops::{Account, Place, Setting};
use coppice_models::init::{Cast, Random};
use coppice_models::measured::{Measured, Probe, measure};
use coppice_models::{Error, Model};
use serde::Deserialize;
use serde_json::Value;
use support::golden;
use tch::{Device, Kind};

/// What `FlopCounterMode` counted of one sequence (`golden/flops.py`), and what causal attention does not need of it.
#[derive(Deserialize)]
struct Counted {
    config: Value,
    length: usize,
    forward: f64,
    backward: f64,
    prefill: f64,
    decode: f64,
    not_causal: f64,
    parameters: u64,
}

fn variants() -> Vec<(String, Counted, Config)> {
    let parsed = |(name, counted): (String, Counted)| {
        let config = Config::from_json(&counted.config).expect("a golden configuration");
        (name, counted, config)
    };
    golden::read::<BTreeMap<String, Counted>>("flops_variants").into_iter().map(parsed).collect()
}

/// One tally is taken at a time in a process.
static TALLY: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    TALLY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn measured(config: &Config, kind: Kind, context: usize, batch: usize, training: bool) -> Measured {
    let _guard = alone();
    let random = Random { config, seed: 5, std: 0.1, device: Device::Cpu };
    let model = Model::new(&Cast { source: &random, kind }, config, Device::Cpu).expect("a model");
    let probe = Probe { context, batch, repeats: 1, seed: 3, training };
    measure(&model, &probe, &mut || Ok(())).expect("a measurement")
}

fn account(config: &Config, kind: Kind, context: usize, batch: usize, measured_experts: Option<f64>) -> Account {
    let bytes = kind.elt_size_in_bytes() as f64;
    let setting = Setting {
        context: context as u64,
        batch: batch as u64,
        weight_bytes: bytes,
        cache_bytes: bytes,
        measured_experts,
        ..Setting::default()
    };
    Account::new(config, setting).expect("an account")
}

#[test]
fn formulas_are_what_torch_counts() {
    for (name, counted, config) in variants() {
        let (account, s) = (account(&config, Kind::Float, counted.length, 1, None), counted.length as f64);
        assert_eq!(account.forward_flops * s, counted.forward - counted.not_causal, "{name}: forward");
        assert_eq!(account.prefill_flops * s, counted.prefill - counted.not_causal, "{name}: prefill");
        assert_eq!(account.decode_flops, counted.decode, "{name}: decode");
        let both = counted.forward + counted.backward - 3.0 * counted.not_causal;
        assert_eq!(account.training_flops * s, both, "{name}: training");
        assert_eq!(account.parameters, counted.parameters, "{name}");
    }
}

#[test]
fn what_runs_is_what_torch_counts() {
    for (name, counted, config) in variants() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let found = measured(&config, kind, counted.length, 1, true);
            assert_eq!(found.prefill.flops as f64, counted.prefill - counted.not_causal, "{name}: prefill in {kind:?}");
            assert_eq!(found.decode.flops as f64, counted.decode, "{name}: decode in {kind:?}");
            let training = found.training.expect("asked for").flops as f64;
            let both = counted.forward + counted.backward - 3.0 * counted.not_causal;
            assert_eq!(training, both + scores_again(&config, counted.length), "{name}: training in {kind:?}");
        }
    }
}

/// Fused attention keeps no scores: its backward pass computes them again, one product of a forward pass's two, by hand.
fn scores_again(config: &Config, length: usize) -> f64 {
    let pairs = length * (length + 1) / 2;
    (2 * config.num_hidden_layers * config.hidden_size as usize * pairs) as f64
}

#[test]
fn a_step_reads_the_bytes_that_the_formula_says() {
    for (name, _, config) in variants() {
        for (kind, batch) in [(Kind::Float, 1), (Kind::BFloat16, 1), (Kind::BFloat16, 8)] {
            let found = measured(&config, kind, 8, batch, false).decode;
            let predicted = account(&config, kind, 8, batch, found.distinct_experts);
            // Rows of the embedding that two sequences share are read once.
            let ratio = predicted.decode_step_bytes / found.bytes as f64;
            assert!((ratio - 1.0).abs() < 0.01, "{name}, {batch} of {kind:?}: {ratio}");
            if batch == 1 {
                let chosen = config.moe.as_ref().map(|moe| moe.experts_per_token as f64);
                assert_eq!(found.distinct_experts, chosen, "{name}");
                assert_eq!(account(&config, kind, 8, 1, None).decode_step_bytes, predicted.decode_step_bytes, "{name}");
            }
        }
    }
}

#[test]
fn places_sum_to_the_whole_and_agree() {
    for (name, counted, config) in variants() {
        let (found, account) = (measured(&config, Kind::Float, 33, 2, false), account(&config, Kind::Float, 33, 2, None));
        let sum = |read: fn(&coppice_models::flops::Component) -> f64| account.components.iter().map(read).sum::<f64>();
        assert_eq!(sum(|part| part.decode_flops), account.decode_flops, "{name}");
        assert!((sum(|part| part.prefill_flops) / account.prefill_flops - 1.0).abs() < 1e-12, "{name}");
        assert_eq!(sum(|part| part.training_flops), account.training_flops, "{name}");
        assert!((sum(|part| part.decode_step_bytes) / account.decode_step_bytes - 1.0).abs() < 1e-12, "{name}");
        for part in &account.components {
            let cost = found.decode.by_place.get(&part.place).copied().unwrap_or_default();
            assert_eq!(cost.flops as f64, 2.0 * part.decode_flops, "{name}: {:?}", part.place);
        }
        let shared = found.decode.by_place.contains_key(&Place::SharedExperts);
        assert_eq!(shared, counted.config.get("shared_expert_intermediate_size").is_some(), "{name}");
    }
}

#[test]
fn probes_that_mean_nothing_are_refused() {
    let _guard = alone();
    let (_, _, config) = variants().remove(0);
    let model = Model::new(&Random { config: &config, seed: 1, std: 0.1, device: Device::Cpu }, &config, Device::Cpu).expect("a model");
    let probe = Probe { context: 8, batch: 1, repeats: 1, seed: 0, training: false };
    let limit = config.max_position_embeddings as usize;
    for bad in
        [Probe { context: 1, ..probe }, Probe { batch: 0, ..probe }, Probe { repeats: 0, ..probe }, Probe { context: limit, ..probe }]
    {
        assert!(matches!(measure(&model, &bad, &mut || Ok(())), Err(Error::Input(_))), "{bad:?}");
    }
    assert!(measure(&model, &probe, &mut || Err(Error::Input("stopped".into()))).is_err());
    assert!(measure(&model, &probe, &mut || Ok(())).expect("a measurement").training.is_none());
}
