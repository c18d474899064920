//! Fused kernels against libtorch's own operators and their gradients.

use coppice_models::ext::fused::{Experts, cross_entropy_, swiglu};
use coppice_models::ext::training::norms;
use tch::{Device, Kind, Tensor};

fn drawn(size: &[i64], kind: Kind, spread: f64) -> Tensor {
    (Tensor::randn(size, (Kind::Float, Device::Cpu)) * spread).to_kind(kind).set_requires_grad(true)
}

/// The largest difference, relative to the larger of 1 and the expected value's size.
fn off(found: &Tensor, expected: &Tensor) -> f64 {
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    ((&found - &expected).abs() / expected.abs().clamp_min(1.0)).max().double_value(&[])
}

/// What a sum of some roundings of the type may be off by.
fn tolerance(kind: Kind) -> f64 {
    if kind == Kind::Float { 4e-6 } else { 2f64.powi(-7) }
}

const KINDS: [Kind; 2] = [Kind::Float, Kind::BFloat16];

fn exact(x: &Tensor) -> Tensor {
    x.detach().to_kind(Kind::Double).set_requires_grad(true)
}

#[test]
fn swiglu_and_its_gradients_are_those_of_silu_times_up() {
    tch::manual_seed(1);
    for kind in KINDS {
        for size in [&[1_i64, 1][..], &[3, 17], &[5, 1000], &[300, 129]] {
            let (gate, up, pull) = (drawn(size, kind, 4.0), drawn(size, kind, 1.0), drawn(size, kind, 1.0).detach());
            let (gate_64, up_64) = (exact(&gate), exact(&up));
            let (found, expected) = (swiglu(&gate, &up).unwrap(), gate_64.silu() * &up_64);
            assert!(off(&found, &expected) < tolerance(kind), "{kind:?} {size:?}");
            let at = Tensor::run_backward(&[(&found * &pull).sum(Kind::Float)], &[&gate, &up], false, false);
            let expected_at = Tensor::run_backward(&[(expected * pull).sum(Kind::Double)], &[&gate_64, &up_64], false, false);
            for (found, expected) in at.iter().zip(&expected_at) {
                assert!(off(found, expected) < tolerance(kind), "{kind:?} {size:?}");
            }
        }
    }
}

#[test]
fn extreme_activations_saturate() {
    let gate = Tensor::from_slice(&[-1e4f32, -100.0, 100.0, 1e4, 0.0]);
    let found = swiglu(&gate, &Tensor::ones_like(&gate)).unwrap();
    assert!(off(&found, &Tensor::from_slice(&[0f32, 0.0, 100.0, 1e4, 0.0])) < 1e-6);
    let nan = swiglu(&Tensor::from_slice(&[f32::NAN]), &Tensor::from_slice(&[1f32])).unwrap();
    assert!(nan.double_value(&[0]).is_nan());
    assert!(swiglu(&Tensor::ones([2], (Kind::Float, Device::Cpu)), &Tensor::ones([3], (Kind::Float, Device::Cpu))).is_err());
}

#[test]
fn cross_entropy_and_its_gradient_are_libtorchs() {
    tch::manual_seed(2);
    for kind in KINDS {
        for (rows, vocabulary) in [(1, 1), (7, 33), (5, 1500), (40, 257)] {
            let logits = drawn(&[rows, vocabulary], kind, 3.0);
            let targets = Tensor::randint(vocabulary, [rows], (Kind::Int64, Device::Cpu));
            let wide = exact(&logits);
            let expected = wide.cross_entropy_loss(&targets, None::<&Tensor>, tch::Reduction::None, -100, 0.0);
            (expected.sum(Kind::Double) * 0.25).backward();
            let mut gradient = logits.detach().copy();
            let losses = cross_entropy_(&mut gradient, &targets, 0.25).unwrap();
            assert!(off(&losses, &expected) < 1e-5, "{kind:?} {rows} {vocabulary}");
            assert!(off(&(gradient * 256.0), &(wide.grad() * 256.0)) < 2.0 * tolerance(kind), "{kind:?} {rows} {vocabulary}");
        }
    }
}

#[test]
fn cross_entropy_stays_finite_and_refuses_foreign_targets() {
    let mut logits = Tensor::from_slice(&[1e4f32, -1e4, 0.0]).view([1, 3]);
    assert!(cross_entropy_(&mut logits.copy(), &Tensor::from_slice(&[3i64]), 1.0).is_err());
    let loss = cross_entropy_(&mut logits, &Tensor::from_slice(&[1i64]), 1.0).unwrap();
    assert!((loss.double_value(&[0]) - 2e4).abs() < 1.0);
    assert!(off(&logits, &Tensor::from_slice(&[1f32, -1.0, 0.0]).view([1, 3])) < 1e-6);
}

/// Experts by a loop over them, in f64.
fn looped(rows: &Tensor, weights: &[Tensor; 3], counts: &[i64]) -> Tensor {
    let [gate, up, down] = weights;
    let mut from = 0;
    let parts = counts.iter().enumerate().map(|(expert, &count)| {
        let (x, expert) = (rows.narrow(0, from, count), expert as i64);
        from += count;
        let inner = x.matmul(&gate.get(expert).tr()).silu() * x.matmul(&up.get(expert).tr());
        inner.matmul(&down.get(expert).tr())
    });
    Tensor::cat(&parts.collect::<Vec<_>>(), 0)
}

#[test]
fn experts_and_their_gradients_are_those_of_a_loop() {
    tch::manual_seed(3);
    let (d, f) = (8, 16);
    for kind in KINDS {
        for counts in [[3_i64, 0, 4], [0, 0, 7], [2, 3, 2]] {
            let (rows, pull) = (drawn(&[7, d], kind, 1.0), drawn(&[7, d], kind, 1.0).detach());
            let weights = [[3, f, d], [3, f, d], [3, d, f]].map(|size| drawn(&size, kind, 0.3));
            let ends = Tensor::from_slice(&counts).cumsum(0, Kind::Int64).to_kind(Kind::Int);
            let [gate, up, down] = &weights;
            let found = Experts { gate, up, down }.forward(&rows, &ends).unwrap();
            let (rows_64, weights_64) = (exact(&rows), weights.each_ref().map(exact));
            let expected = looped(&rows_64, &weights_64, &counts);
            assert!(off(&found, &expected) < 4.0 * tolerance(kind), "{kind:?} {counts:?}");
            let at = Tensor::run_backward(&[(&found * &pull).sum(Kind::Float)], &[&rows, gate, up, down], false, false);
            let [gate, up, down] = &weights_64;
            let expected_at = Tensor::run_backward(&[(expected * pull).sum(Kind::Double)], &[&rows_64, gate, up, down], false, false);
            for (found, expected) in at.iter().zip(&expected_at) {
                assert!(off(found, expected) < 4.0 * tolerance(kind), "{kind:?} {counts:?}");
            }
        }
    }
}

#[test]
fn experts_refuse_ends_that_leave_rows_out() {
    let weights = [[2, 4, 8], [2, 4, 8], [2, 8, 4]].map(|size| drawn(&size, Kind::Float, 1.0));
    let [gate, up, down] = &weights;
    let rows = drawn(&[5, 8], Kind::Float, 1.0);
    for ends in [[2, 4], [4, 2], [2, 6]] {
        assert!(Experts { gate, up, down }.forward(&rows, &Tensor::from_slice(&ends)).is_err(), "{ends:?}");
    }
}

#[test]
fn norms_are_those_of_libtorch_in_f64() {
    tch::manual_seed(4);
    for kind in KINDS {
        let tensors = [drawn(&[1], kind, 1.0), drawn(&[70_001], kind, 3.0), drawn(&[300, 400], kind, 1e-3).tr()].map(|x| x.detach());
        let expected = Tensor::stack(&tensors.each_ref().map(|x| x.to_kind(Kind::Double).norm()), 0);
        let found = norms(&tensors.iter().collect::<Vec<_>>()).unwrap();
        assert!((found.to_kind(Kind::Double) / expected - 1.0).abs().max().double_value(&[]) < 1e-5, "{kind:?}");
    }
}
