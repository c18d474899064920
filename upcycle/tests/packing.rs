//! Documents packed into one sequence: none sees another, in the model, in training and in evaluation.

mod tiny;

use coppice_models::Model;
use coppice_models::model::Memory;
use coppice_upcycle::train::{Cut, Resume, TokenStream, Trainer, evaluate_loss};
use serde_json::json;
use tch::{Kind, Tensor};
use tiny::{config, model, recipe, run, step_lines, top_1};

/// Ids of two documents of 6 and 10 tokens, and one more token to predict.
fn two(first: u32) -> TokenStream {
    let ids: Vec<u32> = (0..6).map(|i| (i * 7 + first) % 60).chain((0..11).map(|i| (i * 5 + 3) % 60)).collect();
    TokenStream::of_documents(ids, vec![0, 6]).unwrap()
}

fn logits(model: &Model, ids: &[i64], starts: Option<&[Vec<i64>]>) -> Tensor {
    let length = ids.len() as i64;
    let mut pass = match starts {
        Some(starts) => model.packed_pass(length, starts).unwrap(),
        None => model.pass(length, Memory::None).unwrap(),
    };
    let hidden = model.hidden(&Tensor::from_slice(ids).unsqueeze(0), &mut pass).unwrap();
    model.logits(&hidden).unwrap().squeeze_dim(0)
}

#[test]
fn a_packed_document_is_the_document_alone() {
    for config in [config(64, None), top_1()] {
        let model = model(&config);
        let ids: Vec<i64> = two(1).ids()[..16].iter().map(|&id| i64::from(id)).collect();
        let packed = logits(&model, &ids, Some(&[vec![0, 6]]));
        for (from, to) in [(0, 6), (6, 16)] {
            let alone = logits(&model, &ids[from..to], None);
            let found = packed.narrow(0, from as i64, (to - from) as i64);
            assert!(found.allclose(&alone, 1e-5, 1e-6, false), "{from}..{to}");
        }
        let joined = logits(&model, &ids, None);
        assert!(!joined.narrow(0, 6, 10).allclose(&packed.narrow(0, 6, 10), 1e-3, 1e-3, false), "a joined document sees the one before");
    }
}

#[test]
fn no_gradient_crosses_a_border() {
    let model = model(&config(64, None));
    let ids: Vec<i64> = (0..16).collect();
    let stream = model.embed(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap().detach().set_requires_grad(true);
    let mut pass = model.packed_pass(16, &[vec![0, 6]]).unwrap();
    let out = model.layers.iter().fold(stream.shallow_clone(), |x, layer| layer.forward(&x, &mut pass).unwrap());
    out.narrow(1, 6, 10).square().sum(Kind::Float).backward();
    let gradient = stream.grad().squeeze_dim(0);
    assert_eq!(gradient.narrow(0, 0, 6).abs().max().double_value(&[]), 0.0);
    assert!(gradient.narrow(0, 6, 10).abs().min().double_value(&[]) > 0.0);
}

/// Losses of three steps on one sequence, and that of the sequence in the end.
fn losses(first: u32, reset: bool) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let changes = json!({"steps": 3, "batch_size": 1, "micro_batch_size": 0, "reset_at_documents": reset, "order": "sequential"});
    let mut trainer = Trainer::new(model(&config(64, None)), recipe(&changes), two(first), Some(two(1)), folder.path()).unwrap();
    run(&mut trainer, Resume::Never).unwrap();
    step_lines(folder.path()).iter().map(|line| line.loss).collect()
}

#[test]
fn training_reads_documents_by_themselves_where_asked_for() {
    let model = model(&config(64, None));
    let cut = |reset_at_documents| Cut { sequence_length: 16, batch: 1, max_tokens: 0, reset_at_documents };
    let evaluated = |reset| evaluate_loss(&model, &two(1), cut(reset)).unwrap().loss;
    let (apart, joined) = (losses(1, true), losses(1, false));
    assert!((apart[0] - evaluated(true)).abs() < 1e-6 && (joined[0] - evaluated(false)).abs() < 1e-6);
    assert!((apart[0] - joined[0]).abs() > 1e-6);
}

#[test]
fn the_loss_of_a_document_does_not_depend_on_the_one_before() {
    let model = model(&config(64, None));
    let of = |first: u32| {
        let ids: Vec<i64> = two(first).ids()[..16].iter().map(|&id| i64::from(id)).collect();
        logits(&model, &ids, Some(&[vec![0, 6]])).narrow(0, 6, 10)
    };
    assert_eq!((of(1) - of(30)).abs().max().double_value(&[]), 0.0);
}
