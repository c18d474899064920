//! The small-batch bf16 product against an f64 product of the same bf16 values, on every path this processor runs.

use coppice_models::ext::{self, Path};
use tch::{Device, Kind, Tensor};

fn paths() -> Vec<Path> {
    Path::ALL.into_iter().filter(|&path| path <= Path::best()).collect()
}

fn bf16(size: &[i64]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16)
}

/// The largest excess of `|y - x wᵀ - b|` over what one rounding to bf16 (8 significant bits: 2^-8 of the value) and sums of `k` terms in
/// f32 allow; at most 0 where `y` is right.
fn excess(y: &Tensor, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> f64 {
    let (x, w) = (x.to_kind(Kind::Double), w.to_kind(Kind::Double));
    let bias = bias.map_or(Tensor::from(0.0), |bias| bias.to_kind(Kind::Double));
    let exact = x.matmul(&w.tr()) + &bias;
    let size = x.abs().matmul(&w.abs().tr()) + bias.abs();
    let allowed = exact.abs() * 2f64.powi(-8) + size * (x.size()[1] as f64 + 2.0) * 2f64.powi(-24) + 1e-30;
    (((y.to_kind(Kind::Double) - exact).abs() - &allowed) / allowed).max().double_value(&[])
}

#[test]
fn every_path_equals_the_f64_product_within_one_rounding() {
    for path in paths() {
        for (n, k) in [(1, 1), (3, 7), (4, 31), (5, 32), (9, 33), (66, 100), (130, 257), (31, 1024)] {
            let (w, bias) = (bf16(&[n, k]), bf16(&[n]));
            for m in (1..=17).chain([33]) {
                let x = bf16(&[m, k]);
                for bias in [None, Some(&bias)] {
                    let y = ext::linear_bf16_small(&x, &w, bias, path).unwrap();
                    let excess = excess(&y, &x, &w, bias);
                    assert!(excess <= 0.0, "{path:?} m {m} n {n} k {k} bias {}: {excess}", bias.is_some());
                }
            }
        }
    }
}

#[test]
fn products_that_are_exact_in_bf16_come_out_exact() {
    let x = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.]).view([2, 3]).to_kind(Kind::BFloat16);
    let w = Tensor::from_slice(&[1f32, 0., 0., 0., 1., 1.]).view([2, 3]).to_kind(Kind::BFloat16);
    let bias = Tensor::from_slice(&[0.5f32, -1.]).to_kind(Kind::BFloat16);
    for path in paths() {
        let y = ext::linear_bf16_small(&x, &w, Some(&bias), path).unwrap().to_kind(Kind::Float);
        assert_eq!(Vec::<f32>::try_from(y.view([-1])).unwrap(), [1.5, 4., 4.5, 10.]);
    }
}

#[test]
fn rounds_to_nearest_with_ties_to_even() {
    // 1 + 2^-8 lies halfway between 1 and 1 + 2^-7; 1 + 3 · 2^-8 halfway between 1 + 2^-7 and 1 + 2^-6.
    let x = Tensor::from_slice(&[1f32, 2f32.powi(-8)]).view([1, 2]).to_kind(Kind::BFloat16);
    let w = Tensor::from_slice(&[1f32, 1., 1., 3., -1., -1.]).view([3, 2]).to_kind(Kind::BFloat16);
    for path in paths() {
        let y = ext::linear_bf16_small(&x, &w, None, path).unwrap().to_kind(Kind::Float);
        assert_eq!(Vec::<f32>::try_from(y.view([-1])).unwrap(), [1., 1. + 2f32.powi(-6), -1.]);
    }
}

#[test]
fn a_row_alone_and_in_a_batch_on_any_number_of_threads_is_the_same_bits() {
    let (x, w) = (bf16(&[13, 200]), bf16(&[1027, 200]));
    for path in paths() {
        let batch = ext::linear_bf16_small(&x, &w, None, path).unwrap();
        let threads = tch::get_num_threads();
        tch::set_num_threads(1);
        for row in 0..13 {
            let alone = ext::linear_bf16_small(&x.narrow(0, row, 1), &w, None, path).unwrap();
            assert_eq!(alone, batch.narrow(0, row, 1), "{path:?} row {row}");
        }
        tch::set_num_threads(threads);
    }
}

#[test]
fn nan_and_infinity_pass_through() {
    let x = Tensor::from_slice(&[f32::NAN, 1., f32::INFINITY, 1.]).view([2, 2]).to_kind(Kind::BFloat16);
    let w = Tensor::ones([5, 2], (Kind::BFloat16, Device::Cpu));
    for path in paths() {
        let y = ext::linear_bf16_small(&x, &w, None, path).unwrap().to_kind(Kind::Float);
        let y = Vec::<f32>::try_from(y.view([-1])).unwrap();
        assert!(y[..5].iter().all(|v| v.is_nan()) && y[5..].iter().all(|&v| v == f32::INFINITY), "{path:?} {y:?}");
    }
}

#[test]
fn leading_dimensions_are_kept_and_may_be_empty() {
    let w = bf16(&[6, 40]);
    assert_eq!(ext::linear(&bf16(&[2, 3, 40]), &w, None).unwrap().size(), [2, 3, 6]);
    assert_eq!(ext::linear(&bf16(&[40]), &w, None).unwrap().size(), [6]);
    assert_eq!(ext::linear(&bf16(&[0, 40]), &w, None).unwrap().size(), [0, 6]);
}

#[test]
fn the_strict_form_says_what_it_does_not_take() {
    let (x, w) = (bf16(&[4, 8]), bf16(&[8, 8]));
    let message =
        |x: &Tensor, w: &Tensor, bias: Option<&Tensor>| ext::linear_bf16_small(x, w, bias, Path::Portable).unwrap_err().to_string();
    assert!(message(&x, &w.tr(), None).contains("contiguous"));
    assert!(message(&x.tr(), &bf16(&[8, 4]), None).contains("contiguous"));
    assert!(message(&x.to_kind(Kind::Float), &w, None).contains("expected bf16"));
    assert!(message(&x, &bf16(&[8, 9]), None).contains("[8, 9]"));
    assert!(message(&x, &w, Some(&bf16(&[7]))).contains("bias [N]"));
    assert!(message(&x.to_sparse_sparse_dim(2), &w, None).contains("expected bf16"));
}

#[test]
fn what_the_kernels_do_not_take_goes_to_libtorch() {
    let (x, w) = (bf16(&[3, 16]), bf16(&[16, 16]));
    let wide = ext::linear(&x.to_kind(Kind::Float), &w.to_kind(Kind::Float), None).unwrap();
    assert_eq!(wide.kind(), Kind::Float);
    let transposed = ext::linear(&x, &w.tr(), None).unwrap();
    assert!(excess(&transposed, &x, &w.tr(), None) <= 2.0);
    let strided = ext::linear(&bf16(&[16, 3]).tr(), &w, None).unwrap();
    assert_eq!(strided.size(), [3, 16]);
    assert!(ext::linear(&x, &bf16(&[16, 17]), None).is_err());
}

#[test]
fn a_wanted_gradient_is_recorded() {
    let (x, w) = (bf16(&[2, 8]), bf16(&[4, 8]).set_requires_grad(true));
    let y = ext::linear(&x, &w, None).unwrap();
    assert!(y.requires_grad());
    y.sum(Kind::Float).backward();
    assert_eq!(w.grad().size(), [4, 8]);
    let inference = tch::no_grad(|| ext::linear(&x, &w, None).unwrap());
    assert!(!inference.requires_grad());
    assert_eq!(inference, ext::linear_bf16_small(&x, &w, None, Path::best()).unwrap());
}

#[test]
fn each_expert_multiplies_its_own_rows() {
    let (x, w) = (bf16(&[7, 40]), bf16(&[4, 24, 40]));
    let ends = Tensor::from_slice(&[3i32, 3, 4, 7]);
    let y = ext::grouped_linear(&x, &w, &ends).unwrap();
    for (expert, from, count) in [(0, 0, 3), (2, 3, 1), (3, 4, 3)] {
        let (y, x) = (y.narrow(0, from, count), x.narrow(0, from, count));
        assert!(excess(&y, &x, &w.get(expert), None) <= 0.0, "expert {expert}");
    }
}

#[test]
fn experts_in_f32_with_gradients_or_many_rows_go_to_libtorch() {
    let ends = Tensor::from_slice(&[40i32, 48]);
    let (x, w) = (bf16(&[48, 16]), bf16(&[2, 8, 16]));
    let many = ext::grouped_linear(&x, &w, &ends).unwrap();
    assert!(excess(&many.narrow(0, 40, 8), &x.narrow(0, 40, 8), &w.get(1), None) <= 2.0);
    let w = w.set_requires_grad(true);
    let few = Tensor::from_slice(&[20i32, 48]);
    assert!(ext::grouped_linear(&x, &w, &few).unwrap().requires_grad());
    let wide = ext::grouped_linear(&x.to_kind(Kind::Float), &w.detach().to_kind(Kind::Float), &few).unwrap();
    assert_eq!(wide.kind(), Kind::Float);
}

#[test]
fn ends_that_leave_the_rows_are_refused() {
    let (x, w) = (bf16(&[4, 16]), bf16(&[2, 8, 16]));
    for ends in [[3i32, 5], [3, 2], [-1, 4]] {
        let error = ext::grouped_linear(&x, &w, &Tensor::from_slice(&ends)).unwrap_err().to_string();
        assert!(error.contains("ends must ascend"), "{error}");
    }
}

#[test]
fn reading_sums_the_words() {
    let words: Vec<u64> = (0..100_003).collect();
    assert_eq!(ext::read(&words), (0..100_000).sum::<u64>());
    assert_eq!(ext::read(&[]), 0);
}

#[test]
fn the_libtorch_compiled_against_is_the_one_tch_is_made_for() {
    assert_eq!(ext::torch_version(), "2.11.0");
    assert!(ext::cxx11_abi());
}
