//! Conversions and what is compared of them.
#![allow(dead_code, reason = "every test file uses some of it")]

use std::path::Path;
use std::sync::atomic::AtomicBool;

use coppice_models::{Checkpoint, Model};
use coppice_upcycle::convert::{ConvertError, Manifest, Options, Sources, upcycle};
use coppice_upcycle::step0::{self, Probe, Step0};
use tch::{Device, Kind, Tensor};

/// Never raised.
pub(crate) static GO: AtomicBool = AtomicBool::new(false);

/// Converts one checkpoint.
pub(crate) fn convert(source: &Checkpoint, options: &Options, output: &Path) -> Result<Manifest, ConvertError> {
    upcycle(&Sources::one(source), options, output, &mut |_| {}, &GO)
}

/// Converts into a temporary folder and opens the result.
pub(crate) fn converted(source: &Checkpoint, options: &Options) -> (tempfile::TempDir, Checkpoint) {
    let root = tempfile::tempdir().unwrap();
    convert(source, options, &root.path().join("out")).unwrap();
    let result = Checkpoint::open(root.path().join("out")).unwrap();
    (root, result)
}

/// Logits in f32 of two sequences of 17 tokens.
pub(crate) fn logits(checkpoint: &Checkpoint) -> Tensor {
    let ids: Vec<i64> = (0..34).map(|i| (i * 29 + 3) % checkpoint.config.vocab_size).collect();
    let model = Model::load(checkpoint, Kind::Float, Device::Cpu).unwrap();
    tch::no_grad(|| model.forward(&Tensor::from_slice(&ids).view([2, 17])).unwrap())
}

/// `‖b − a‖ / ‖a‖` in f64.
pub(crate) fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    ((&b - &a).norm() / a.norm()).double_value(&[])
}

/// The step-0 report on 40 random ids.
pub(crate) fn report(dense: &Checkpoint, upcycled: &Checkpoint) -> Step0 {
    step0::compare(dense, upcycled, &Probe::Random { tokens: 40, seed: 1 }, &mut |_, _| {}, &GO).unwrap()
}

/// A tensor in f32.
pub(crate) fn tensor(checkpoint: &Checkpoint, name: &str) -> Tensor {
    checkpoint.load(name, Kind::Float, Device::Cpu).unwrap()
}

/// A matrix of a routed expert of a layer, in f32.
pub(crate) fn expert(checkpoint: &Checkpoint, layer: usize, expert: usize, matrix: &str) -> Tensor {
    tensor(checkpoint, &format!("model.layers.{layer}.mlp.experts.{expert}.{matrix}_proj.weight"))
}

/// A matrix of a dense MLP, in f32.
pub(crate) fn dense_mlp(checkpoint: &Checkpoint, layer: usize, matrix: &str) -> Tensor {
    tensor(checkpoint, &format!("model.layers.{layer}.mlp.{matrix}_proj.weight"))
}

/// The router of a layer, `[N, D]`, in f32.
pub(crate) fn router(checkpoint: &Checkpoint, layer: usize) -> Tensor {
    tensor(checkpoint, &format!("model.layers.{layer}.mlp.gate.weight"))
}
