//! What each method makes of the weights, held against its definition.

mod conversions;
mod support;

use conversions::{GO, convert, converted, dense_mlp, expert, logits, tensor};
use coppice_models::{Checkpoint, Gate};
use coppice_upcycle::convert::options::{DropIndices, SharedStart, Trunk};
use coppice_upcycle::convert::{ConvertError, Options, Sources, upcycle};
use coppice_upcycle::methods::{self, unit_permutation};
use safetensors::Dtype;
use support::{listing, open, plain, write};
use tch::{Kind, Tensor};

const F: i64 = 48;
const MATRICES: [(&str, i64); 3] = [("gate", 0), ("up", 0), ("down", 1)];

fn named(method: &str) -> Options {
    Options { method: method.into(), experts: 4, ..Options::default() }
}

/// Options every method can follow.
fn any(method: &str) -> Options {
    let branches = if method == "branch_train_mix" { vec!["branch".into()] } else { vec![] };
    Options { branches, ..named(method) }
}

/// A checkpoint of the same shape with other weights.
fn branch(scale: f32) -> (tempfile::TempDir, Checkpoint) {
    let folder = write(&plain(), Dtype::F32, |_, values| values.iter_mut().rev().for_each(|value| *value = value.mul_add(scale, 0.01)));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

/// The dense matrix in the order of an expert's units.
fn shuffled(dense: &Checkpoint, seed: u64, layer: usize, e: usize, (matrix, dim): (&str, i64)) -> Tensor {
    dense_mlp(dense, layer, matrix).index_select(dim, &Tensor::from_slice(&unit_permutation(seed, layer, e, F)))
}

/// Units in which two matrices differ.
fn changed(a: &Tensor, b: &Tensor, dim: i64) -> Vec<i64> {
    let other = [1 - dim];
    Vec::try_from(a.ne_tensor(b).any_dims(&other[..], false).nonzero().squeeze_dim(1)).unwrap()
}

#[test]
fn every_registered_method_makes_a_checkpoint_that_runs_and_depends_on_the_seed_alone() {
    let ((_folder, dense), (_other, branches)) = (open(&plain(), Dtype::F32), (branch(0.5)));
    let branches = [branches];
    for method in methods::ALL {
        let mut made = vec![];
        for seed in [1, 1, 2] {
            let root = tempfile::tempdir().unwrap();
            let options = Options { seed, ..any(method.name()) };
            let sources = if options.branches.is_empty() { Sources::one(&dense) } else { Sources::new(&dense, &branches).unwrap() };
            let output = root.path().join("out");
            upcycle(&sources, &options, &output, &mut |_| {}, &GO).unwrap();
            let result = Checkpoint::open(&output).unwrap();
            assert!(logits(&result).isfinite().all().int64_value(&[]) == 1, "{}", method.name());
            let record = result.config.moe.as_ref().unwrap().upcycling.as_ref().unwrap();
            assert_eq!((&record["method"], &record["seed"]), (&method.name().into(), &seed.into()));
            made.push(std::fs::read(output.join("model.safetensors")).unwrap());
        }
        assert!(made[0] == made[1] && made[0] != made[2], "{}", method.name());
    }
}

#[test]
fn shuffled_experts_hold_the_dense_units_in_the_order_that_is_told() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let (_root, result) = converted(&dense, &Options { seed: 9, ..named("shuffle") });
    for (layer, e) in [(0, 0), (0, 3), (2, 1)] {
        for matrix in MATRICES {
            assert!(expert(&result, layer, e, matrix.0).equal(&shuffled(&dense, 9, layer, e, matrix)));
        }
    }
    assert!(!expert(&result, 0, 0, "gate").equal(&expert(&result, 0, 1, "gate")));
}

#[test]
fn noise_touches_its_share_of_units_and_no_other() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let options = Options { ratio: 0.3, noise_std: 0.5, ..named("noise") };
    let (_root, result) = converted(&dense, &options);
    let units = |e: usize, (matrix, dim): (&str, i64)| changed(&dense_mlp(&dense, 1, matrix), &expert(&result, 1, e, matrix), dim);
    for e in 0..4 {
        assert_eq!(units(e, MATRICES[0]).len(), 14); // floor(0.3 * 48)
        assert!(units(e, MATRICES[0]) == units(e, MATRICES[1]) && units(e, MATRICES[0]) == units(e, MATRICES[2]));
    }
    assert_ne!(units(0, MATRICES[0]), units(1, MATRICES[0]));
    let all = converted(&dense, &Options { ratio: 1.0, ..options });
    let noise = expert(&all.1, 0, 0, "down") - dense_mlp(&dense, 0, "down");
    // 1,536 draws: the deviation is known to 2 %.
    assert!((noise.std(true).double_value(&[]) / 0.5 - 1.0).abs() < 0.08 && noise.mean(Kind::Double).double_value(&[]).abs() < 0.06);
}

#[test]
fn drop_redraws_its_share_with_the_old_statistics_and_keeps_the_rest() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    for indices in [DropIndices::Shared, DropIndices::PerMatrix] {
        let (_root, result) = converted(&dense, &Options { ratio: 0.5, drop_indices: indices, seed: 3, ..named("drop") });
        let mut dropped = vec![];
        for matrix in MATRICES {
            let (old, new) = (shuffled(&dense, 3, 1, 2, matrix), expert(&result, 1, 2, matrix.0));
            let units = changed(&old, &new, matrix.1);
            assert_eq!(units.len(), 24);
            let [old, new] = [old, new].map(|all| all.index_select(matrix.1, &Tensor::from_slice(&units)));
            let moments = |values: &Tensor| (values.mean(Kind::Double).double_value(&[]), values.std(true).double_value(&[]));
            let ((mean, std), (new_mean, new_std)) = (moments(&old), moments(&new));
            // 768 draws: the mean is known to std / 28, the deviation to 2.6 %.
            assert!((new_mean - mean).abs() < 4.0 * std / 28.0 && (new_std / std - 1.0).abs() < 0.1, "{mean} {std} {new_mean} {new_std}");
            dropped.push(units);
        }
        assert_eq!(dropped[0] == dropped[1] && dropped[1] == dropped[2], indices == DropIndices::Shared);
    }
}

#[test]
fn drop_of_nothing_is_shuffle() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let ((_a, none), (_b, shuffle)) = (converted(&dense, &Options { ratio: 0.0, ..named("drop") }), converted(&dense, &named("shuffle")));
    for matrix in ["gate", "up", "down"] {
        assert!((0..4).all(|e| expert(&none, 2, e, matrix).equal(&expert(&shuffle, 2, e, matrix))));
    }
}

#[test]
fn virtual_groups_hold_their_parts_scaled_exactly_and_repeat_router_rows() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let options = Options { experts: 8, top_k: 4, granularity: Some(4), ..named("virtual_group") };
    let (_root, result) = converted(&dense, &options);
    for e in 0..8_usize {
        let start = (e as i64 % 4) * 12;
        for (matrix, dim, scale) in [("gate", 0, 1.0), ("up", 0, 1.0), ("down", 1, 4.0)] {
            let part = dense_mlp(&dense, 1, matrix).narrow(dim, start, 12) * scale;
            assert!(expert(&result, 1, e, matrix).equal(&part), "{matrix} of {e}");
        }
    }
    let router = conversions::router(&result, 1);
    for group in 0..2 {
        let rows = router.narrow(0, group * 4, 4);
        assert!(rows.equal(&rows.narrow(0, 0, 1).expand_as(&rows)));
    }
    assert!(!router.get(0).equal(&router.get(4)));
}

#[test]
fn a_shared_expert_stands_beside_experts_without_output() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let options = Options { granularity: Some(2), shared_gate: true, ..named("shared_expert") };
    let (_root, result) = converted(&dense, &options);
    let shared = |matrix: &str| tensor(&result, &format!("model.layers.0.mlp.shared_expert.{matrix}_proj.weight"));
    assert!(shared("up").equal(&dense_mlp(&dense, 0, "up")) && shared("down").equal(&(dense_mlp(&dense, 0, "down") * 2.0)));
    assert!(expert(&result, 0, 3, "up").equal(&dense_mlp(&dense, 0, "up").narrow(0, 24, 24)));
    let zeros = [expert(&result, 0, 3, "down"), tensor(&result, "model.layers.0.mlp.shared_expert_gate.weight")];
    assert!(zeros.iter().all(|zero| zero.abs().max().double_value(&[]) == 0.0));
    let (_root, halves) = converted(&dense, &Options { shared_start: SharedStart::Copies, ..named("shared_expert") });
    assert!(expert(&halves, 0, 1, "down").equal(&(dense_mlp(&dense, 0, "down") * 0.5)));
}

#[test]
fn router_biases_are_zeros_in_f32_whatever_the_rest_is() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let (_root, result) = converted(&dense, &Options { router_bias: true, router_logit_norm: Some(2.0), ..Options::default() });
    let name = "model.layers.2.mlp.gate.e_score_correction_bias";
    assert_eq!((result.entry(name).unwrap().dtype, result.entry("lm_head.weight").unwrap().dtype), (Dtype::F32, Dtype::BF16));
    assert_eq!(tensor(&result, name).abs().sum(Kind::Float).double_value(&[]), 0.0);
    assert_eq!(result.config.moe.as_ref().unwrap().router_logit_norm, Some(2.0));
}

#[test]
fn branches_become_experts_in_turn_and_the_trunk_their_mean() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let ((_one, one), (_two, two)) = (branch(0.5), branch(-2.0));
    let branches = [one, two];
    let all = [&dense, &branches[0], &branches[1]];
    let options =
        Options { experts: 6, branches: vec!["one".into(), "two".into()], layers: "first:2".parse().unwrap(), ..named("branch_train_mix") };
    for trunk in [Trunk::Average, Trunk::First] {
        let root = tempfile::tempdir().unwrap();
        let sources = Sources::new(&dense, &branches).unwrap();
        upcycle(&sources, &Options { trunk, ..options.clone() }, &root.path().join("out"), &mut |_| {}, &GO).unwrap();
        let result = Checkpoint::open(root.path().join("out")).unwrap();
        assert!((0..6).all(|e| expert(&result, 1, e, "down").equal(&dense_mlp(all[e % 3], 1, "down"))));
        for name in ["model.layers.0.self_attn.q_proj.weight", "model.layers.2.mlp.up_proj.weight", "model.norm.bias", "lm_head.weight"] {
            let sum = all.iter().fold(Tensor::from(0.0), |sum, source| sum + tensor(source, name).to_kind(Kind::Double));
            let wanted = if trunk == Trunk::First { tensor(&dense, name).to_kind(Kind::Double) } else { sum / 3.0 };
            let apart = (tensor(&result, name).to_kind(Kind::Double) - &wanted).abs().max().double_value(&[]);
            assert!(apart <= 3e-7 * wanted.abs().max().double_value(&[]).max(1.0), "{name}: {apart}");
        }
    }
}

#[test]
fn what_a_method_cannot_follow_is_refused_with_one_sentence_and_nothing_written() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let group = || named("virtual_group");
    let cases = [
        (Options { granularity: Some(2), ..named("shuffle") }, "granularity 2: method shuffle"),
        (Options { granularity: Some(5), experts: 5, ..group() }, "granularity 5 does not divide the MLP's 48 units"),
        (Options { granularity: Some(3), ..group() }, "experts 4 is no multiple of granularity 3"),
        (Options { granularity: Some(2), group_selection: true, top_k: 3, ..group() }, "top-k 3 is no multiple of granularity 2"),
        (Options { granularity: Some(2), shared_start: SharedStart::Copies, ..named("shared_expert") }, "full width"),
        (Options { shared_gate: true, ..named("copy") }, "shared gate"),
        (Options { ratio: 1.5, ..named("drop") }, "ratio is 1.5"),
        (Options { noise_std: -1.0, ..named("noise") }, "noise std is -1"),
        (Options { router_bias: true, gate: Gate::ExpertChoice, ..named("copy") }, "router bias"),
        (named("branch_train_mix"), "no branch is given"),
        (Options { branches: vec!["b".into()], ..named("branch_train_mix") }, "1 checkpoints are opened and the options name 2"),
    ];
    for (options, part) in cases {
        let sentence = convert(&dense, &options, &root.path().join("out")).unwrap_err().to_string();
        assert!(sentence.contains(part) && !sentence.contains('\n'), "{sentence}");
    }
    let (_other, other) = branch(1.0);
    let branches = [other];
    let sources = Sources::new(&dense, &branches).unwrap();
    let refuse = |options: &Options| -> String {
        let refused: Result<_, ConvertError> = upcycle(&sources, options, &root.path().join("out"), &mut |_| {}, &GO);
        refused.unwrap_err().to_string()
    };
    let branches = vec!["b".into()];
    assert!(refuse(&Options { branches: branches.clone(), ..named("copy") }).contains("method copy takes none"));
    assert!(refuse(&Options { branches, experts: 3, ..named("branch_train_mix") }).contains("experts 3 is no multiple of the 2"));
    assert!(listing(root.path()).is_empty());
}
