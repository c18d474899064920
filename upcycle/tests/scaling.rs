//! How far scaled virtual groups are from the dense MLP: one SwiGLU layer, D 256, F 704, weights of deviation 0.04, unit-variance inputs.

mod conversions;
mod support;

use conversions::{apart, converted, dense_mlp};
use coppice_models::init::{Stored, normal};
use coppice_models::moe::Moe;
use coppice_models::{Checkpoint, Config, Gate};
use coppice_upcycle::convert::Options;
use coppice_upcycle::convert::options::{RouterInit, Scaling};
use safetensors::Dtype;
use support::write;
use tch::{Device, Kind, Tensor};

const D: i64 = 256;

fn dense() -> (tempfile::TempDir, Checkpoint) {
    let config = serde_json::json!({"model_type": "stablelm", "vocab_size": 8, "hidden_size": D, "intermediate_size": 704,
        "num_hidden_layers": 1, "num_attention_heads": 4});
    let folder = write(&Config::from_json(&config).unwrap(), Dtype::F32, |name, values| {
        if name.contains("mlp") {
            *values = normal(17, name, values.len(), 0.04);
        }
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

fn inputs() -> Tensor {
    Tensor::from_slice(&normal(18, "inputs", 256 * D as usize, 1.0)).view([256, D])
}

/// The dense layer by its definition, in f64.
fn wanted(dense: &Checkpoint) -> Tensor {
    let [gate, up, down] = ["gate", "up", "down"].map(|matrix| dense_mlp(dense, 0, matrix).to_kind(Kind::Double).transpose(0, 1));
    let x = inputs().to_kind(Kind::Double);
    (x.matmul(&gate).silu() * x.matmul(&up)).matmul(&down)
}

/// Relative error of the routed layer's output with `E` groups of `G` parts and `T` experts for a token.
fn error([e, g, t]: [i64; 3], gate: Gate, scaling: Scaling, router_init: RouterInit) -> f64 {
    let (_folder, dense) = dense();
    let granularity = Some(g);
    let options =
        Options { method: "virtual_group".into(), experts: e * g, top_k: t, granularity, gate, scaling, router_init, ..Options::default() };
    let (_root, result) = converted(&dense, &options);
    let stored = Stored { checkpoint: &result, kind: Kind::Float, device: Device::Cpu, owned: true };
    let moe = Moe::new(&stored, "model.layers.0.mlp", D, result.config.moe.as_ref().unwrap()).unwrap();
    let found = tch::no_grad(|| moe.forward(&inputs(), 0, None).unwrap().0);
    apart(&wanted(&dense), &found)
}

#[test]
fn topk_then_softmax_is_exact_unless_the_gate_matrix_is_scaled() {
    for router in [RouterInit::Normal, RouterInit::Zero] {
        assert!(error([8, 8, 8], Gate::TopkSoftmax, Scaling::Down, router) <= 1e-5);
        assert!(error([8, 8, 8], Gate::TopkSoftmax, Scaling::SqrtUpDown, router) <= 1e-5);
        assert!(error([8, 4, 4], Gate::TopkSoftmax, Scaling::Down, router) <= 1e-5);
        assert!((error([8, 8, 8], Gate::TopkSoftmax, Scaling::CubeRoot, router) - 0.24).abs() <= 0.02);
        assert!((error([8, 4, 4], Gate::TopkSoftmax, Scaling::CubeRoot, router) - 0.16).abs() <= 0.02);
    }
}

#[test]
fn softmax_then_topk_is_exact_with_a_zero_router_unless_the_gate_matrix_is_scaled() {
    for sizes in [[8, 8, 8], [8, 4, 4], [4, 1, 1], [8, 1, 2]] {
        assert!(error(sizes, Gate::SoftmaxTopk, Scaling::Down, RouterInit::Zero) <= 1e-5);
        assert!(error(sizes, Gate::SoftmaxTopk, Scaling::SqrtUpDown, RouterInit::Zero) <= 1e-5);
        let cube_root = error(sizes, Gate::SoftmaxTopk, Scaling::CubeRoot, RouterInit::Zero);
        assert!((0.16..0.43).contains(&cube_root), "{cube_root}");
    }
}

#[test]
fn softmax_then_topk_is_tens_of_per_cent_off_with_a_random_router() {
    for sizes in [[8, 8, 8], [8, 4, 4], [8, 1, 2]] {
        for scaling in [Scaling::Down, Scaling::SqrtUpDown] {
            let error = error(sizes, Gate::SoftmaxTopk, scaling, RouterInit::Normal);
            assert!((0.40..0.60).contains(&error), "{error}");
        }
    }
}
