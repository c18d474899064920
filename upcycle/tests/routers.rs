//! The first rows of routers, held against closed forms and against the model's own layers.

mod conversions;
mod support;

use conversions::{convert, converted, router, tensor};
use coppice_models::model::{Memory, Model};
use coppice_models::{Checkpoint, init};
use coppice_upcycle::convert::Options;
use coppice_upcycle::convert::options::{ExpertPrompts, RouterInit};
use proptest::prelude::*;
use safetensors::Dtype;
use support::{listing, open, plain, variants, write};
use tch::{Device, Kind, Tensor};

fn by(router_init: RouterInit) -> Options {
    Options { router_init, experts: 4, ..Options::default() }
}

/// Prompts of three experts; the second has a negative one.
fn prompts() -> Vec<ExpertPrompts> {
    let positive = |prompts: &[&[i64]]| ExpertPrompts { positive: prompts.iter().map(|ids| ids.to_vec()).collect(), negative: vec![] };
    let mut second = positive(&[&[7, 8, 9]]);
    second.negative = vec![vec![10, 11], vec![12]];
    vec![positive(&[&[1, 2, 3], &[4, 5]]), second, positive(&[&[20], &[21, 22, 23, 24], &[25, 26]])]
}

fn prompted(router_init: RouterInit) -> Options {
    Options { experts: 3, router_prompts: prompts(), ..by(router_init) }
}

fn unit(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2.0, [-1].as_slice(), true)
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// For every layer: the residual stream before it and the input of its MLP, `[S, D]` each, from the model run whole.
fn states(checkpoint: &Checkpoint, ids: &[i64]) -> Vec<[Tensor; 2]> {
    let model = Model::load(checkpoint, Kind::Float, Device::Cpu).unwrap();
    let mut pass = model.pass(ids.len() as i64, Memory::None).unwrap();
    let mut x = Tensor::embedding(&model.embed_tokens, &Tensor::from_slice(ids).unsqueeze(0), -1, false, false);
    let mut seen = vec![];
    for layer in &model.layers {
        let input = layer.attend(&x, &mut pass).unwrap().1;
        let next = layer.forward(&x, &mut pass).unwrap();
        seen.push([x.squeeze_dim(0), input.squeeze_dim(0)]);
        x = next;
    }
    seen
}

/// mergekit's rows of one layer: the mean over positive prompts minus the mean over negative ones, of length 1.
fn by_hand(prompts: &[ExpertPrompts], state: &dyn Fn(&[i64]) -> Tensor) -> Tensor {
    let mean = |prompts: &[Vec<i64>]| prompts.iter().map(|ids| state(ids)).sum::<Tensor>() / prompts.len() as f64;
    let row = |prompts: &ExpertPrompts| match prompts.negative.is_empty() {
        true => mean(&prompts.positive),
        false => mean(&prompts.positive) - mean(&prompts.negative),
    };
    unit(&Tensor::stack(&prompts.iter().map(row).collect::<Vec<_>>(), 0))
}

#[test]
fn normal_rows_are_those_drawn_for_the_routers_name() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_root, result) = converted(&dense, &Options { seed: 4, router_std: 0.3, ..by(RouterInit::Normal) });
    let wanted = Tensor::from_slice(&init::normal(4, "model.layers.1.mlp.gate.weight", 4 * 32, 0.3)).view([4, 32]);
    assert!(router(&result, 1).equal(&wanted));
}

#[test]
fn orthogonal_rows_are_of_the_length_normal_ones_have_in_blocks_of_the_width() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let gram = |experts: i64, seed: u64| {
        let options = Options { experts, router_std: 0.5, seed, ..by(RouterInit::Orthogonal) };
        let rows = router(&converted(&dense, &options).1, 0);
        (rows.matmul(&rows.transpose(0, 1)) / (0.25 * 32.0), rows)
    };
    let identity = |n: i64| Tensor::eye(n, (Kind::Float, Device::Cpu));
    assert!(apart(&gram(8, 0).0, &identity(8)) < 1e-5);
    let (gram40, _) = gram(40, 0);
    assert!(apart(&gram40.narrow(0, 0, 32).narrow(1, 0, 32), &identity(32)) < 1e-5);
    assert!(apart(&gram40.narrow(0, 32, 8).narrow(1, 32, 8), &identity(8)) < 1e-5);
    assert!(gram(8, 1).1.equal(&gram(8, 1).1) && !gram(8, 1).1.equal(&gram(8, 2).1));
}

#[test]
fn zero_rows_are_zero_and_the_report_says_what_that_means() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_root, result) = converted(&dense, &by(RouterInit::Zero));
    assert_eq!(router(&result, 2).abs().max().double_value(&[]), 0.0);
    let notes = conversions::report(&dense, &result).notes;
    assert!(notes.iter().any(|note| note.contains("the router is zero") && note.contains("equal gradients")), "{notes:?}");
}

#[test]
fn cheap_embed_sums_embeddings_and_is_the_same_in_every_layer() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_root, result) = converted(&dense, &Options { router_scale: 3.0, ..prompted(RouterInit::CheapEmbed) });
    let table = tensor(&dense, "model.embed_tokens.weight");
    let sum = |ids: &[i64]| ids.iter().map(|&id| table.get(id)).sum::<Tensor>();
    let alone = |ids: &[i64]| sum(ids) / sum(ids).norm(); // each side has length 1 before they are compared
    let rows = [sum(&[1, 2, 3, 4, 5]), alone(&[7, 8, 9]) - alone(&[10, 11, 12]), sum(&[20, 21, 22, 23, 24, 25, 26])];
    let wanted = unit(&Tensor::stack(&rows, 0)) * 3.0;
    assert!((0..3).all(|layer| apart(&router(&result, layer), &wanted) < 1e-5));
}

#[test]
fn hidden_states_of_prompts_are_those_of_the_model_run_whole() {
    for (name, config) in variants() {
        let (_folder, dense) = open(&config, Dtype::F32);
        let options = |init| Options { layers: "0,2".parse().unwrap(), ..prompted(init) };
        let ((_a, last), (_b, mean)) =
            (converted(&dense, &options(RouterInit::Hidden)), converted(&dense, &options(RouterInit::HiddenAvg)));
        for layer in [0, 2] {
            let state = |ids: &[i64]| states(&dense, ids).swap_remove(layer)[0].shallow_clone();
            let wanted = by_hand(&prompts(), &|ids| state(ids).get(-1));
            assert!(apart(&router(&last, layer), &wanted) < 1e-5, "{name}");
            let wanted = by_hand(&prompts(), &|ids| state(ids).mean_dim([0].as_slice(), false, Kind::Float));
            assert!(apart(&router(&mean, layer), &wanted) < 1e-5, "{name}");
        }
    }
}

#[test]
fn rows_shared_in_a_group_are_asked_for_once() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let group = Options { method: "virtual_group".into(), granularity: Some(2), experts: 6, ..prompted(RouterInit::Hidden) };
    let ((_a, grouped), (_b, single)) = (converted(&dense, &group), converted(&dense, &prompted(RouterInit::Hidden)));
    assert!(router(&grouped, 1).equal(&router(&single, 1).repeat_interleave_self_int(2, 0, None)));
}

/// A model whose tokens are told apart by the embedding alone: even and odd ids lie along two axes, and attention adds nothing.
fn two_kinds() -> (tempfile::TempDir, Checkpoint) {
    let folder = write(&plain(), Dtype::F32, |name, values| {
        if name.ends_with("o_proj.weight") {
            values.fill(0.0);
        } else if name.contains("norm") {
            values.fill(if name.ends_with("weight") { 1.0 } else { 0.0 });
        } else if name.contains("embed_tokens") {
            values.iter_mut().for_each(|value| *value *= 0.2);
            values.chunks_exact_mut(32).enumerate().for_each(|(id, row)| row[id % 2] += 2.0);
        }
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

#[test]
fn clusters_of_the_mlps_inputs_are_told_apart() {
    let (_folder, dense) = two_kinds();
    let sample = vec![(0..40).collect::<Vec<i64>>(), (40..67).collect()];
    let options = Options { experts: 2, top_k: 1, router_sample: sample.clone(), ..by(RouterInit::Kmeans) };
    let (root, result) = converted(&dense, &options);
    let rows = router(&result, 0);
    assert!(apart(&rows, &unit(&rows)) < 1e-6);
    let inputs = sample.iter().map(|ids| states(&dense, ids).swap_remove(0)[1].shallow_clone()).collect::<Vec<_>>();
    let chosen: Vec<i64> = Vec::try_from(Tensor::cat(&inputs, 0).matmul(&rows.transpose(0, 1)).argmax(1, false)).unwrap();
    assert!(chosen.iter().enumerate().all(|(id, cluster)| *cluster == chosen[id % 2]) && chosen[0] != chosen[1], "{chosen:?}");
    let manifest = std::fs::read_to_string(root.path().join("out/coppice.json")).unwrap();
    assert!(manifest.contains("centres of clusters of 67 tokens"));
}

#[test]
fn rows_that_depend_on_each_other_are_noted_with_their_condition_number() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let mut alike = prompts();
    alike[1] = alike[0].clone();
    let root = tempfile::tempdir().unwrap();
    let manifest =
        convert(&dense, &Options { router_prompts: alike, ..prompted(RouterInit::CheapEmbed) }, &root.path().join("out")).unwrap();
    let note = &manifest.made["model.layers.0.mlp.gate.weight"];
    assert!(note.contains("condition number") && note.contains("above 5"), "{note}");
}

#[test]
fn data_that_cannot_be_used_is_refused_with_one_sentence_and_nothing_written() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let base = || prompted(RouterInit::Hidden);
    let changed = |change: fn(&mut Vec<ExpertPrompts>)| {
        let mut options = base();
        change(&mut options.router_prompts);
        options
    };
    let kmeans = |router_sample| Options { router_sample, ..by(RouterInit::Kmeans) };
    let cases = [
        (changed(Vec::clear), "none are given"),
        (changed(|all| all.truncate(2)), "needs the prompts of 3 experts, one for each row, and 2 are given"),
        (changed(|all| all[1].positive.clear()), "expert 1 has no positive prompts"),
        (changed(|all| all[2].positive[1].clear()), "a prompt of expert 2 is empty"),
        (changed(|all| all[1].negative[0] = vec![1; 65]), "a prompt of expert 1 has 65 tokens, the context holds 64"),
        (changed(|all| all[0].positive[0] = vec![67]), "token id 67"),
        (kmeans(vec![]), "none is given"),
        (kmeans(vec![vec![1, 2, 3]]), "has 3 tokens, fewer than the 4 rows"),
        (kmeans(vec![vec![1, 2, 3, 70]]), "token id 70"),
        (Options { router_scale: f64::NAN, ..base() }, "router scale is NaN"),
    ];
    for (options, part) in cases {
        let sentence = convert(&dense, &options, &root.path().join("out")).unwrap_err().to_string();
        assert!(sentence.contains(part) && !sentence.contains('\n'), "{sentence}");
    }
    let sick = write(&plain(), Dtype::F32, |name, values| values[0] = if name.contains("0.mlp.up_proj") { f32::NAN } else { values[0] });
    let sick = Checkpoint::open(sick.path()).unwrap();
    let sentence = convert(&sick, &base(), &root.path().join("out")).unwrap_err().to_string();
    assert!(sentence.contains("NaN or infinity in layer 1"), "{sentence}");
    assert!(listing(root.path()).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows made from data have the length that is asked for, whatever the prompts.
    #[test]
    fn rows_from_data_have_their_length(
        prompts in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..67i64, 1..9), 1..4), 1..5),
        scale in 0.1..10.0f64,
        which in 0..3usize,
    ) {
        let (_folder, dense) = open(&plain(), Dtype::F32);
        let init = [RouterInit::Hidden, RouterInit::HiddenAvg, RouterInit::CheapEmbed][which];
        let experts = prompts.len() as i64;
        let router_prompts = prompts.into_iter().map(|positive| ExpertPrompts { positive, negative: vec![] }).collect();
        let (_root, result) = converted(&dense, &Options { experts, top_k: 1, router_prompts, router_scale: scale, ..by(init) });
        let lengths = router(&result, 1).norm_scalaropt_dim(2.0, [-1].as_slice(), false);
        prop_assert!(apart(&lengths, &(lengths.ones_like() * scale)) < 1e-4 * scale);
    }
}
