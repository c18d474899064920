//! Conversions end to end: what copies preserve, what lands on disk, what is refused and what a failure leaves behind.

mod conversions;
mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use conversions::{GO, apart, convert, converted, logits, report};
use coppice_models::{Checkpoint, Config, Gate, Model};
use coppice_upcycle::convert::{ConvertError, LayerSelection, MANIFEST, Options, RouterInit, Sources, upcycle, upcycle_by};
use coppice_upcycle::methods::{Method, Preservation, Projection, Recipe, Target};
use coppice_upcycle::step0::{self, Probe, Step0};
use proptest::prelude::*;
use safetensors::Dtype;
use support::{listing, open, plain, variants, write};
use tch::{Device, Kind, Tensor};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Copies with weights that sum to 1 are the dense model, whatever the router, N, K and the layers.
    #[test]
    fn copies_reproduce_the_dense_logits(
        variant in 0..5usize,
        (experts, top_k) in (1..9i64).prop_flat_map(|n| (Just(n), 1..=n)),
        router_std in prop_oneof![Just(0.0), Just(0.02), Just(10.0), 0.0..10.0f64],
        gate in prop_oneof![Just(Gate::TopkSoftmax), Just(Gate::SoftmaxTopkRenorm), Just(Gate::SoftmaxTopkSt)],
        layers in prop_oneof![Just("all"), Just("alternate"), Just("first:1"), Just("last:2"), Just("2,0")],
        seed: u64,
    ) {
        let (_folder, dense) = open(&variants()[variant].1, Dtype::F32);
        let options = Options { experts, top_k, router_std, gate, layers: layers.parse().unwrap(), seed, ..Options::default() };
        let (_root, result) = converted(&dense, &options);
        let error = apart(&logits(&dense), &logits(&result));
        prop_assert!(error <= 1e-5, "relative error {error}");
    }
}

#[test]
fn every_variant_and_type_is_converted_and_reported_exact() {
    for (name, config) in variants() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let (_folder, dense) = open(&config, dtype);
            let (_root, result) = converted(&dense, &Options { experts: 4, router_std: 1.0, ..Options::default() });
            assert_eq!(result.dtype(), dtype);
            assert!(result.names().all(|name| result.entry(name).unwrap().dtype == dtype));
            assert!(apart(&logits(&dense), &logits(&result)) <= 1e-5, "{name} {dtype}");
            let report = report(&dense, &result);
            assert!(report.exact && report.logits.relative_error <= 1e-5, "{name} {dtype}: {}", report.verdict());
            assert!(report.layers.iter().all(|layer| layer.mlp_error.unwrap() <= 1e-5 && layer.residual_error <= 1e-5));
        }
    }
}

#[test]
fn the_gate_that_does_not_sum_to_one_jumps_and_the_report_says_how_far() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let options = Options { experts: 8, top_k: 1, gate: Gate::SoftmaxTopk, layers: LayerSelection::Alternate, ..Options::default() };
    let (_root, result) = converted(&dense, &options);
    let report = report(&dense, &result);
    assert!(!report.exact && report.logits.relative_error > 1e-2);
    // With a router near zero every weight is near 1/8, so the MLP's output shrinks by 7/8.
    let error = report.layers[1].mlp_error.unwrap();
    assert!((0.8..0.9).contains(&error), "{error}");
    assert!(report.layers[0].mlp_error.is_none() && report.layers[0].residual_error == 0.0 && report.layers[0].router.is_none());
    assert!(report.notes.iter().any(|note| note.contains("sum to less than 1")));
    let through = Options { gate: Gate::SoftmaxTopkSt, ..options };
    let (_root, result) = converted(&dense, &through);
    let exact = self::report(&dense, &result);
    assert!(exact.exact && exact.notes.is_empty(), "{:?}", exact.notes);
}

#[test]
fn the_report_agrees_with_the_models_run_whole() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let options = Options { experts: 4, top_k: 2, router_std: 0.5, gate: Gate::SoftmaxTopk, ..Options::default() };
    let (_root, result) = converted(&dense, &options);
    let sequences = vec![vec![3, 1, 4, 1, 5, 9, 2, 6], vec![7], vec![2, 7, 1, 8, 2, 8]];
    let report = step0::compare(&dense, &result, &Probe::Text(sequences.clone()), &mut |_, _| {}, &GO).unwrap();
    let loss = |checkpoint: &Checkpoint| {
        let model = Model::load(checkpoint, Kind::Float, Device::Cpu).unwrap();
        let scores = coppice_models::score::score(&model, &sequences).unwrap();
        let told: Vec<f64> = scores.iter().flat_map(|score| score.logprobs.iter().copied().flatten()).collect();
        assert_eq!(told.len(), 12);
        -told.iter().sum::<f64>() / 12.0
    };
    assert!((report.logits.dense_loss - loss(&dense)).abs() < 1e-5);
    assert!((report.logits.upcycled_loss - loss(&result)).abs() < 1e-5);
    let whole = |checkpoint: &Checkpoint| {
        let model = Model::load(checkpoint, Kind::Float, Device::Cpu).unwrap();
        let rows =
            sequences.iter().map(|ids| tch::no_grad(|| model.forward(&Tensor::from_slice(ids).unsqueeze(0)).unwrap().squeeze_dim(0)));
        Tensor::cat(&rows.collect::<Vec<_>>(), 0)
    };
    let (a, b) = (whole(&dense), whole(&result));
    assert!((report.logits.relative_error / apart(&a, &b) - 1.0).abs() < 1e-4);
    assert!((report.logits.max_abs_error - (&a - &b).abs().max().double_value(&[])).abs() < 1e-4);
    let (p, q) = (a.to_kind(Kind::Double).log_softmax(-1, Kind::Double), b.to_kind(Kind::Double).log_softmax(-1, Kind::Double));
    let divergence = (p.exp() * (&p - &q)).sum(Kind::Double).double_value(&[]) / 15.0;
    assert!((report.logits.divergence - divergence).abs() < 1e-5);
    assert!(report.probe.contains("15 tokens of text in 3 sequences"), "{}", report.probe);
}

#[test]
fn the_report_says_when_a_router_cannot_learn_and_what_was_run() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_root, result) = converted(&dense, &Options { experts: 4, top_k: 1, router_std: 0.0, ..Options::default() });
    let report = report(&dense, &result);
    assert!(report.exact && report.notes.iter().any(|note| note.contains("no gradient")), "{:?}", report.notes);
    let router = report.layers[0].router.as_ref().unwrap();
    assert!((router.entropy - 4f64.ln()).abs() < 1e-6, "a zero router is undecided");
    assert!((router.load.iter().sum::<f64>() - 1.0).abs() < 1e-12 && router.load.len() == 4);
    let lines = report.lines().join("\n");
    assert!(lines.contains("40 random ids in 1 sequence (no text; seed 1)") && lines.contains("exact"), "{lines}");
    assert_eq!(serde_json::from_str::<Step0>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
}

#[test]
fn kept_tensors_and_copies_are_the_source_bit_for_bit_and_all_are_accounted_for() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let root = tempfile::tempdir().unwrap();
    let options = Options { experts: 3, layers: LayerSelection::Indices(vec![1]), ..Options::default() };
    let manifest = convert(&dense, &options, &root.path().join("out")).unwrap();
    let result = Checkpoint::open(root.path().join("out")).unwrap();
    assert_eq!(manifest.tensors.keys().map(String::as_str).collect::<BTreeSet<_>>(), dense.names().collect::<BTreeSet<_>>());
    let mut told = manifest.made.keys().cloned().collect::<BTreeSet<_>>();
    for (name, account) in &manifest.tensors {
        assert!(account.dropped.is_none() && account.made_into.is_empty() && !account.recomputed, "{name}: {account:?}");
        let targets = if account.kept { vec![name.clone()] } else { account.copied_to.clone() };
        assert_eq!(targets.len(), if name.starts_with("model.layers.1.mlp.") { 3 } else { 1 }, "{name}");
        for target in &targets {
            assert_eq!(dense.bytes(name).unwrap(), result.bytes(target).unwrap(), "{name} to {target}");
        }
        told.extend(targets);
    }
    assert_eq!(told, result.names().map(str::to_owned).collect());
    assert_eq!(manifest.made.keys().collect::<Vec<_>>(), ["model.layers.1.mlp.gate.weight"]);
    let written = std::fs::read_to_string(root.path().join("out").join(MANIFEST)).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), serde_json::to_value(&manifest).unwrap());
}

#[test]
fn a_seed_decides_the_router_and_its_deviation() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let router = |seed: u64| {
        let (_root, result) = converted(&dense, &Options { experts: 64, router_std: 0.02, seed, ..Options::default() });
        result.load("model.layers.2.mlp.gate.weight", Kind::Double, Device::Cpu).unwrap()
    };
    let (a, again, b) = (router(1), router(1), router(2));
    assert!(a.equal(&again) && !a.equal(&b));
    // 2,048 draws: the deviation is known to 1.6 %, the mean to 0.02 / 45.
    assert!((a.std(true).double_value(&[]) / 0.02 - 1.0).abs() < 0.08);
    assert!(a.mean(Kind::Double).double_value(&[]).abs() < 0.002);
}

#[test]
fn large_outputs_are_sharded_with_an_index_and_companions_come_along() {
    let (folder, dense) = open(&plain(), Dtype::F32);
    for name in ["tokenizer.json", "generation_config.json", "chat_template.jinja"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    std::fs::write(folder.path().join("pytorch_model.bin"), "not to be copied").unwrap();
    let options = Options { max_shard_bytes: 40_000, ..Options::default() };
    let (root, result) = converted(&dense, &options);
    let names = listing(&root.path().join("out"));
    let shards: Vec<_> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
    assert!(shards.len() > 2, "{names:?}");
    for name in ["tokenizer.json", "generation_config.json", "chat_template.jinja", "model.safetensors.index.json", MANIFEST] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|name| name == "pytorch_model.bin"));
    assert!(shards.iter().all(|name| std::fs::metadata(root.path().join("out").join(name)).unwrap().len() < 50_000));
    assert!(apart(&logits(&dense), &logits(&result)) <= 1e-5);
}

#[test]
fn another_element_type_is_written_on_request() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (root, result) = converted(&dense, &Options { dtype: Some(Dtype::BF16), ..Options::default() });
    assert!(result.names().all(|name| result.entry(name).unwrap().dtype == Dtype::BF16));
    let config = std::fs::read_to_string(root.path().join("out/config.json")).unwrap();
    assert!(config.contains("\"bfloat16\"") && config.contains("\"stablelm_moe\""), "{config}");
    let report = report(&dense, &result);
    assert!(!report.exact && report.logits.relative_error < 0.05, "{}", report.verdict());
    assert!(report.notes.iter().any(|note| note.contains("rounding")));
    let huge = write(&plain(), Dtype::F32, |name, values| {
        if name == "lm_head.weight" {
            values[7] = 1e30;
        }
    });
    let huge = Checkpoint::open(huge.path()).unwrap();
    let error = convert(&huge, &Options { dtype: Some(Dtype::F16), ..Options::default() }, &root.path().join("f16")).unwrap_err();
    assert!(error.to_string().contains("lm_head.weight") && error.to_string().contains("F16"), "{error}");
    assert_eq!(listing(root.path()), ["out"]);
}

#[test]
fn failures_leave_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("out");
    for (name, value) in [("lm_head.weight", f32::NAN), ("model.layers.1.mlp.up_proj.weight", f32::INFINITY)] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let sick = write(&plain(), dtype, |tensor, values| {
                if tensor == name {
                    *values.last_mut().unwrap() = value;
                }
            });
            let error = convert(&Checkpoint::open(sick.path()).unwrap(), &Options::default(), &output).unwrap_err();
            assert!(matches!(&error, ConvertError::NonFinite { tensor, .. } if tensor == name), "{error}");
            assert!(listing(root.path()).is_empty());
        }
    }
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (flag, seen) = (AtomicBool::new(false), Cell::new(0));
    let mut progress = |progress: coppice_upcycle::convert::Progress| {
        seen.set(progress.written);
        flag.store(progress.written * 2 > progress.total, Ordering::Relaxed);
    };
    let error = upcycle(&Sources::one(&dense), &Options::default(), &output, &mut progress, &flag).unwrap_err();
    assert!(matches!(error, ConvertError::Interrupted) && seen.get() > 0);
    assert!(listing(root.path()).is_empty());
}

#[test]
fn existing_outputs_are_refused_unless_overwriting_and_the_source_is_never_replaced() {
    let (folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("out");
    std::fs::create_dir(&output).unwrap();
    std::fs::write(output.join("precious"), "1").unwrap();
    assert!(convert(&dense, &Options::default(), &output).unwrap_err().to_string().contains("exists"));
    assert_eq!(listing(&output), ["precious"]);
    let overwrite = Options { overwrite: true, ..Options::default() };
    assert!(convert(&dense, &overwrite, folder.path()).unwrap_err().to_string().contains("holds the source"));
    assert!(convert(&dense, &overwrite, folder.path().parent().unwrap()).unwrap_err().to_string().contains("holds the source"));
    convert(&dense, &overwrite, &output).unwrap();
    assert!(!output.join("precious").exists() && Checkpoint::open(&output).is_ok());
    let routed = Checkpoint::open(&output).unwrap();
    let error = convert(&routed, &Options::default(), &root.path().join("again")).unwrap_err().to_string();
    assert!(error.contains("mixture of experts already"), "{error}");
    assert_eq!(listing(root.path()), ["out"]);
}

#[test]
fn options_that_cannot_be_followed_are_refused_with_one_sentence_and_nothing_written() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let base = Options::default;
    let cases = [
        (Options { experts: 2, top_k: 3, ..base() }, "top-k 3 is more than the 2 experts"),
        (Options { experts: 0, ..base() }, "experts is 0"),
        (Options { experts: 5000, ..base() }, "4096"),
        (Options { layers: LayerSelection::Indices(vec![3]), ..base() }, "layer 3 is beyond the last, 2"),
        (Options { layers: LayerSelection::Last(4), ..base() }, "last:4"),
        (Options { router_std: f64::NAN, ..base() }, "router std is NaN"),
        (Options { router_std: -0.1, ..base() }, "router std is -0.1"),
        (Options { granularity: Some(2), ..base() }, "granularity 2"),
        (Options { method: "cpoy".into(), ..base() }, "nearest is \"copy\""),
        (Options { max_shard_bytes: 0, ..base() }, "shard"),
    ];
    for (options, part) in cases {
        let sentence = convert(&dense, &options, &root.path().join("out")).unwrap_err().to_string();
        assert!(sentence.contains(part) && !sentence.contains('\n'), "{sentence}");
    }
    assert!(listing(root.path()).is_empty());
    assert!(convert(&dense, &Options { granularity: Some(1), ..base() }, &root.path().join("out")).is_ok());
}

/// Experts of half the width: the even units in expert 0, the odd ones in expert 1, with a zero router.
struct Halves;

impl Method for Halves {
    fn name(&self) -> &'static str {
        "halves"
    }

    fn summary(&self) -> &'static str {
        "two experts, each with half of the units"
    }

    fn expert_width(&self, config: &Config, _options: &Options) -> i64 {
        config.intermediate_size / 2
    }

    fn recipe(&self, target: &Target, _options: &Options) -> Recipe {
        let (expert, units) = (target.expert as i64, target.projection.unit_dim());
        // With both experts chosen at weight 1/2 each, doubling the last matrix gives back the sum over all units.
        let scale = if target.projection == Projection::Down { 2.0 } else { 1.0 };
        let make = move |dense: &Tensor| Ok(dense.f_slice(units, expert, None, 2)?.f_mul_scalar(scale)?);
        Recipe::derived(target.dense(), format!("units {expert}, {}, …", expert + 2), make)
    }

    fn preserves(&self, _config: &Config, _options: &Options) -> Preservation {
        Preservation::Exact
    }
}

#[test]
fn a_method_may_compute_its_tensors_and_live_outside_the_registry() {
    for dtype in [Dtype::F32, Dtype::BF16] {
        let (_folder, dense) = open(&plain(), dtype);
        let root = tempfile::tempdir().unwrap();
        let options = Options { method: "halves".into(), experts: 2, top_k: 2, router_init: RouterInit::Zero, ..Options::default() };
        let manifest = upcycle_by(&Halves, &Sources::one(&dense), &options, &root.path().join("out"), &mut |_| {}, &GO).unwrap();
        let result = Checkpoint::open(root.path().join("out")).unwrap();
        assert!(apart(&logits(&dense), &logits(&result)) <= 1e-5);
        assert!(report(&dense, &result).exact);
        let note = &manifest.made["model.layers.0.mlp.experts.1.up_proj.weight"];
        assert_eq!(note, "units 1, 3, …");
        let sick = write(&plain(), dtype, |name, values| {
            if name.contains("1.mlp.up_proj") {
                values[0] = f32::NAN;
            }
        });
        let sick = Checkpoint::open(sick.path()).unwrap();
        let error = upcycle_by(&Halves, &Sources::one(&sick), &options, &root.path().join("sick"), &mut |_| {}, &GO).unwrap_err();
        assert!(matches!(error, ConvertError::NonFinite { .. }), "{error}");
        assert_eq!(listing(root.path()), ["out"]);
    }
}

#[test]
fn a_report_refuses_models_and_tokens_that_do_not_fit() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_other, other) = open(&variants()[2].1, Dtype::F32);
    let (_root, result) = converted(&dense, &Options::default());
    let refuse = |a: &Checkpoint, b: &Checkpoint, probe: Probe| step0::compare(a, b, &probe, &mut |_, _| {}, &GO).unwrap_err().to_string();
    let random = || Probe::Random { tokens: 20, seed: 0 };
    assert!(refuse(&other, &result, random()).contains("did not come from the other"));
    assert!(refuse(&result, &result, random()).contains("routed"));
    assert!(refuse(&dense, &result, Probe::Text(vec![vec![5]])).contains("at least 2 tokens"));
    assert!(refuse(&dense, &result, Probe::Text(vec![])).contains("at least 2 tokens"));
    assert!(refuse(&dense, &result, Probe::Text(vec![vec![5, 67]])).contains("token id 67"));
    let stop = AtomicBool::new(true);
    let stopped = step0::compare(&dense, &result, &random(), &mut |_, _| {}, &stop);
    assert!(matches!(stopped, Err(ConvertError::Interrupted)));
}
