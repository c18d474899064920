//! Inspections of small routed models: counts against plain loops over the routers' own choices, totals, batch sizes, refusals.

mod support;

use std::sync::atomic::AtomicBool;

use coppice_models::model::Memory;
use coppice_models::{Checkpoint, Config, Gate, Model, MoeConfig, SharedExpert};
use coppice_upcycle::convert::options::Scaling;
use coppice_upcycle::convert::{Options, Sources, upcycle};
use coppice_upcycle::inspect::report::ExpertReport;
use coppice_upcycle::inspect::{Document, Settings, Subject, inspect, loads};
use safetensors::Dtype;
use support::{open, plain, variants};
use tch::{Device, Kind};

static GO: AtomicBool = AtomicBool::new(false);

const EXPERTS: usize = 4;

/// A random routed model of the first variant, two of its three layers converted.
fn routed(gate: Gate, change: impl Fn(&mut MoeConfig)) -> (tempfile::TempDir, Checkpoint) {
    let mut moe = MoeConfig { num_experts: EXPERTS as i64, gate, layers: vec![0, 2], expert_intermediate_size: 48, ..MoeConfig::default() };
    change(&mut moe);
    open(&Config { moe: Some(moe), ..plain() }, Dtype::F32)
}

fn load(checkpoint: &Checkpoint) -> Model {
    Model::load(checkpoint, Kind::Float, Device::Cpu).unwrap()
}

/// The choice for a token, its id and its domain.
type Row<'a> = (&'a Vec<bool>, i64, &'a str);

/// Documents of different lengths, one longer than the context of 64, from two domains.
fn documents() -> Vec<Document> {
    let document = |start: i64, length: i64, domain: &str| Document {
        tokens: (0..length).map(|i| (start + i * i * 7 + i) % 67).collect(),
        domain: Some(domain.to_owned()),
    };
    vec![document(1, 30, "law"), document(5, 100, "code"), document(9, 1, "law"), document(40, 17, "code")]
}

fn report(subject: &Subject, documents: &[Document], batch_tokens: usize) -> ExpertReport {
    let settings = Settings { name: "moe".into(), text: "text".into(), batch_tokens, token: &|id| format!("<{id}>") };
    inspect(subject, documents, &settings, &mut |_, _| {}, &GO).unwrap()
}

fn alone(model: &Model) -> Subject<'_> {
    Subject { model, reference: None, dense: None }
}

/// Whether each token is among each expert's, layer by layer, from the routers of one document run alone.
fn choices(model: &Model, tokens: &[i64]) -> Vec<Vec<Vec<bool>>> {
    let mut pass = model.pass(tokens.len() as i64, Memory::None).unwrap();
    pass.routings = Some(Vec::new());
    drop(tch::no_grad(|| model.hidden(&tch::Tensor::from_slice(tokens).view([1, -1]), &mut pass).unwrap()));
    let layer = |routing: &coppice_models::moe::Routing| {
        let (counts, chosen) = (Vec::<i64>::try_from(&routing.counts).unwrap(), Vec::<i64>::try_from(&routing.tokens).unwrap());
        let mut table = vec![vec![false; counts.len()]; tokens.len()];
        let experts = counts.iter().enumerate().flat_map(|(expert, &count)| vec![expert; count as usize]);
        experts.zip(chosen).for_each(|(expert, token)| table[token as usize][expert] = true);
        table
    };
    pass.routings.unwrap().iter().map(layer).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn every_share_is_what_plain_loops_over_the_choices_give() {
    for gate in Gate::ALL {
        let shared = SharedExpert { intermediate_size: 24, gated: true };
        let (_folder, checkpoint) = routed(gate, |moe| moe.shared_expert = Some(shared.clone()));
        let model = load(&checkpoint);
        let documents = documents();
        let pieces: Vec<(&[i64], &str)> =
            documents.iter().flat_map(|d| d.tokens.chunks(64).map(|piece| (piece, d.domain.as_deref().unwrap()))).collect();
        let seen: Vec<_> = pieces.iter().map(|(tokens, domain)| (choices(&model, tokens), *tokens, *domain)).collect();
        let found = report(&alone(&model), &documents, 8192);
        assert_eq!((found.tokens, found.experts, found.experts_per_token), (148, EXPERTS, 2));
        for (place, layer) in found.layers.iter().enumerate() {
            let rows: Vec<Row> =
                seen.iter().flat_map(|(c, ids, domain)| c[place].iter().zip(*ids).map(|(row, &id)| (row, id, *domain))).collect();
            let count = |holds: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count() as f64;
            let total: f64 = (0..EXPERTS).map(|i| count(&|row| row.0[i])).sum();
            for i in 0..EXPERTS {
                let own = count(&|row| row.0[i]);
                assert!(close(layer.load[i], own / total), "{gate:?}");
                assert_eq!(layer.dead.contains(&i), own == 0.0);
                for j in (0..EXPERTS).filter(|_| own > 0.0) {
                    assert!(close(layer.co_activation[i][j], count(&|row| row.0[i] && row.0[j]) / own), "{gate:?}");
                }
                for domain in &layer.domains {
                    let tokens = count(&|row| row.2 == domain.domain);
                    assert_eq!(domain.tokens as f64, tokens);
                    assert!(close(domain.share[i], count(&|row| row.2 == domain.domain && row.0[i]) / tokens));
                }
            }
            assert!(close(layer.vocabulary.as_ref().unwrap().input, vocabulary(&rows)), "{gate:?}");
        }
    }
}

/// Mean over ids of the largest share of one expert, weighted by routings, ids with fewer than 8 left out.
fn vocabulary(rows: &[Row]) -> f64 {
    let (mut weighted, mut all) = (0.0, 0.0);
    for id in 0..67 {
        let to = |expert: usize| rows.iter().filter(|row| row.1 == id && row.0[expert]).count() as f64;
        let routings: f64 = (0..EXPERTS).map(to).sum();
        if routings >= 8.0 {
            weighted += routings * (0..EXPERTS).map(to).fold(0.0, f64::max) / routings;
            all += routings;
        }
    }
    weighted / all
}

#[test]
fn totals_hold_for_every_variant() {
    for (name, config) in variants() {
        let moe =
            MoeConfig { num_experts: 6, experts_per_token: 3, layers: vec![1, 2], expert_intermediate_size: 16, ..MoeConfig::default() };
        let (_folder, checkpoint) = open(&Config { moe: Some(moe), ..config }, Dtype::BF16);
        let model = Model::load(&checkpoint, Kind::BFloat16, Device::Cpu).unwrap();
        let found = report(&alone(&model), &documents(), 100);
        assert_eq!(found.layers.iter().map(|layer| layer.layer).collect::<Vec<_>>(), [1, 2], "{name}");
        for layer in &found.layers {
            assert!(close(layer.load.iter().sum(), 1.0));
            assert!(layer.domains.iter().all(|domain| close(domain.share.iter().sum(), 3.0)));
            assert!((0..6).all(|i| layer.load[i] == 0.0 || layer.co_activation[i][i] == 1.0));
            assert!((0..6).all(|i| layer.similarity[i][i] == 1.0 && (0..6).all(|j| layer.similarity[i][j] == layer.similarity[j][i])));
            assert!(layer.load_entropy <= 6_f64.ln() + 1e-12 && layer.router_entropy.unwrap() <= 6_f64.ln() + 1e-6);
            assert!(layer.vocabulary.as_ref().unwrap().top.iter().flatten().all(|token| token.share > 0.0 && token.count >= 8));
        }
    }
}

#[test]
fn the_batch_size_changes_nothing() {
    for gate in [Gate::TopkSoftmax, Gate::ExpertChoiceRenorm] {
        let (_folder, checkpoint) = routed(gate, |_| {});
        let model = load(&checkpoint);
        let subject = Subject { reference: Some(&model), ..alone(&model) };
        let blur = |mut report: ExpertReport| {
            let round = |value: &mut Option<f64>| *value = value.map(|value| (value * 1e5).round());
            report.layers.iter_mut().for_each(|layer| round(&mut layer.router_entropy));
            report
        };
        let whole = blur(report(&subject, &documents(), 100_000));
        for batch_tokens in [1, 40, 64, 130] {
            assert_eq!(blur(report(&subject, &documents(), batch_tokens)), whole, "{gate:?} {batch_tokens}");
        }
    }
}

#[test]
fn a_model_is_saturated_against_itself_and_not_against_another() {
    for gate in Gate::ALL {
        let (_folder, checkpoint) = routed(gate, |_| {});
        let (model, documents) = (load(&checkpoint), documents());
        let itself = report(&Subject { reference: Some(&model), ..alone(&model) }, &documents, 64);
        assert!(itself.layers.iter().all(|layer| layer.saturation == Some(1.0)), "{gate:?}");
        let other = support::write(&checkpoint.config, Dtype::F32, |name, values| {
            if name.ends_with("mlp.gate.weight") {
                values.reverse();
            }
        });
        let other = load(&Checkpoint::open(other.path()).unwrap());
        let apart = report(&Subject { reference: Some(&other), ..alone(&model) }, &documents, 64);
        let (mut kept, mut all) = (0.0, 0.0);
        for piece in documents.iter().flat_map(|document| document.tokens.chunks(64)) {
            let (ours, theirs) = (choices(&model, piece), choices(&other, piece));
            let pairs = ours[1].iter().flatten().zip(theirs[1].iter().flatten());
            all += ours[1].iter().flatten().filter(|chosen| **chosen).count() as f64;
            kept += pairs.filter(|(a, b)| **a && **b).count() as f64;
        }
        assert!(kept < all && close(apart.layers[1].saturation.unwrap(), kept / all), "{gate:?}");
    }
}

#[test]
fn fresh_copies_are_alike_and_like_their_parent() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("moe");
    upcycle(&Sources::one(&dense), &Options { experts: 4, ..Options::default() }, &output, &mut |_| {}, &GO).unwrap();
    let checkpoint = Checkpoint::open(&output).unwrap();
    let model = load(&checkpoint);
    let found = report(&Subject { dense: Some(&dense), ..alone(&model) }, &documents(), 64);
    for layer in &found.layers {
        assert!(layer.similarity.iter().flatten().chain(&layer.parent_similarity).all(|cosine| (cosine - 1.0).abs() < 1e-12));
        assert_eq!(layer.parent_similarity.len(), 4);
    }
}

#[test]
fn parts_are_compared_with_the_parents_parts() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (d, f, parts) = (32_usize, 48_usize, 3_usize);
    let width = f / parts;
    let moe = MoeConfig { num_experts: 6, layers: vec![1], expert_intermediate_size: width as i64, ..MoeConfig::default() };
    let config = Config { moe: Some(moe), ..plain() };
    let folder = support::write(&config, Dtype::F32, |name, values| {
        let Some((expert, matrix)) = name.strip_prefix("model.layers.1.mlp.experts.").and_then(|rest| rest.split_once('.')) else { return };
        let part = expert.parse::<usize>().unwrap() % parts;
        let whole =
            Vec::<f32>::try_from(dense.load(&format!("model.layers.1.mlp.{matrix}"), Kind::Float, Device::Cpu).unwrap().flatten(0, -1))
                .unwrap();
        *values = if matrix.starts_with("down") {
            (0..d).flat_map(|row| whole[row * f + part * width..row * f + (part + 1) * width].to_vec()).collect()
        } else {
            whole[part * width * d..(part + 1) * width * d].to_vec()
        };
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let model = load(&checkpoint);
    let layer = &report(&Subject { dense: Some(&dense), ..alone(&model) }, &documents(), 64).layers[0];
    assert!(layer.parent_similarity.iter().all(|cosine| (cosine - 1.0).abs() < 1e-12), "{:?}", layer.parent_similarity);
    assert!((layer.similarity[1][4] - 1.0).abs() < 1e-12 && layer.similarity[1][2].abs() < 0.2);
}

#[test]
fn scaled_parts_are_compared_with_equally_scaled_ones() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    for scaling in [Scaling::Down, Scaling::SqrtUpDown, Scaling::CubeRoot, Scaling::None] {
        let output = root.path().join(format!("{scaling:?}"));
        let options = Options { method: "virtual_group".into(), experts: 8, top_k: 4, granularity: Some(4), scaling, ..Options::default() };
        upcycle(&Sources::one(&dense), &options, &output, &mut |_| {}, &GO).unwrap();
        let checkpoint = Checkpoint::open(&output).unwrap();
        let model = load(&checkpoint);
        let found = report(&Subject { dense: Some(&dense), ..alone(&model) }, &documents(), 64);
        assert!(found.layers.iter().flat_map(|layer| &layer.parent_similarity).all(|cosine| (cosine - 1.0).abs() < 1e-12), "{scaling:?}");
        assert!(found.notes.iter().any(|note| note.contains("split in 4")));
    }
}

#[test]
fn permuted_units_are_compared_in_the_order_of_the_dense_mlp() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let options = Options { method: "shuffle".into(), experts: 3, ..Options::default() };
    upcycle(&Sources::one(&dense), &options, &root.path().join("moe"), &mut |_| {}, &GO).unwrap();
    let model = load(&Checkpoint::open(root.path().join("moe")).unwrap());
    let found = report(&Subject { dense: Some(&dense), ..alone(&model) }, &documents(), 64);
    assert!((found.layers[0].similarity[0][1] - 1.0).abs() < 1e-12 && (found.layers[2].parent_similarity[1] - 1.0).abs() < 1e-12);
}

#[test]
fn loads_alone_are_those_of_the_report() {
    let (_folder, checkpoint) = routed(Gate::SoftmaxTopk, |_| {});
    let model = load(&checkpoint);
    let found = report(&alone(&model), &documents(), 8192);
    assert_eq!(loads(&model, &documents(), &GO).unwrap(), found.layers.iter().map(|layer| layer.load.clone()).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_inspected_is_refused_in_a_sentence() {
    let refusal = |subject: &Subject, documents: &[Document]| {
        let settings = Settings { name: String::new(), text: String::new(), batch_tokens: 64, token: &|_| String::new() };
        inspect(subject, documents, &settings, &mut |_, _| {}, &GO).unwrap_err().to_string()
    };
    let (_dense, dense) = open(&plain(), Dtype::F32);
    let (_moe, moe) = routed(Gate::TopkSoftmax, |_| {});
    let (_other, other) = routed(Gate::TopkSoftmax, |moe| moe.num_experts = 3);
    let (model, dense_model, other_model) = (load(&moe), load(&dense), load(&other));
    assert!(refusal(&alone(&dense_model), &documents()).contains("dense"));
    assert!(refusal(&alone(&model), &[]).contains("no token"));
    assert!(refusal(&alone(&model), &[Document::default()]).contains("no token"));
    assert!(refusal(&alone(&model), &[Document { tokens: vec![67], domain: None }]).contains("67"));
    assert!(refusal(&Subject { reference: Some(&other_model), ..alone(&model) }, &documents()).contains("num_experts 3, the model 4"));
    assert!(refusal(&Subject { reference: Some(&dense_model), ..alone(&model) }, &documents()).contains("reference is dense"));
    assert!(refusal(&Subject { dense: Some(&other), ..alone(&model) }, &documents()).contains("routed itself"));
    let stop = AtomicBool::new(true);
    assert!(loads(&model, &documents(), &stop).unwrap_err().to_string().contains("interrupted"));
}
