//! The routed MLP on grouped matrix products (f32) against a loop over tokens and experts in f64, values and gradients.
//!
//! The reference is `tests/golden/moe.py`, whose gradients pass finite differences.

mod support;

use std::collections::BTreeMap;

use coppice_models::config::MoeConfig;
use coppice_models::init::Source;
use coppice_models::moe::Moe;
use serde::Deserialize;
use support::golden::{self, Recipe};
use support::weights;
use tch::{Kind, Tensor};

/// Largest difference allowed, relative to the largest value of the tensor (or 0.1, where rounding is all there is).
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    tensors: BTreeMap<String, Recipe>,
    inputs: BTreeMap<String, Recipe>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    gate: String,
    experts_per_token: i64,
    output: Vec<Vec<f64>>,
    gradients: BTreeMap<String, Vec<Vec<f64>>>,
}

fn make(name: &str, recipe: &Recipe) -> Tensor {
    let values = weights::tensor(name, recipe.shape.iter().product::<i64>() as usize, recipe.offset, recipe.scale);
    Tensor::from_slice(&values).view(&recipe.shape[..]).set_requires_grad(true)
}

impl Source for Golden {
    fn tensor(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        let name = name.strip_prefix("mlp.").expect("the prefix the test gave");
        assert_eq!(self.tensors[name].shape, shape, "{name}");
        Ok(make(name, &self.tensors[name]))
    }

    fn optional(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        self.tensor(name, shape).map(Some)
    }

    fn packed(&self, names: &[String], shape: &[i64]) -> coppice_models::Result<Tensor> {
        let parts: Vec<_> = names.iter().map(|name| self.tensor(name, shape)).collect::<coppice_models::Result<_>>()?;
        Ok(Tensor::stack(&parts, 0).detach().set_requires_grad(true))
    }
}

impl Golden {
    fn layer(&self, case: &Case) -> Moe {
        let router = &self.tensors["gate.weight"].shape;
        let config = MoeConfig {
            num_experts: router[0],
            experts_per_token: case.experts_per_token,
            gate: case.gate.parse().expect("a known gate"),
            layers: vec![0],
            expert_intermediate_size: self.tensors["experts.0.gate_proj.weight"].shape[0],
            ..MoeConfig::default()
        };
        Moe::new(self, "mlp", router[1], &config).expect("a layer")
    }
}

fn near(what: &str, found: &Tensor, expected: &[Vec<f64>]) {
    let expected = Tensor::from_slice2(expected);
    assert_eq!(found.size(), expected.size(), "{what}");
    let scale = expected.abs().max().double_value(&[]).max(0.1);
    let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / scale;
    assert!(error < TOLERANCE, "{what}: {error}");
}

#[test]
fn every_gate_matches_the_loop() {
    let golden: Golden = golden::read("moe");
    for case in &golden.cases {
        let what = format!("{}, top {}", case.gate, case.experts_per_token);
        let (layer, x) = (golden.layer(case), make("x", &golden.inputs["x"]));
        let (y, routing) = layer.forward(&x, 0, None).expect("a forward pass");
        near(&what, &y, &case.output);
        assert_eq!(routing.counts.sum(Kind::Int64).int64_value(&[]), x.size()[0] * case.experts_per_token, "{what}");
        let pull = make("output_gradient", &golden.inputs["output_gradient"]).detach();
        (y * pull).sum(Kind::Float).backward();
        let expert = |packed: &Tensor| packed.grad().get(1);
        near(&format!("{what}, x"), &x.grad(), &case.gradients["x"]);
        near(&format!("{what}, router"), &router_gradient(&layer.router.weight), &case.gradients["gate.weight"]);
        near(&format!("{what}, gate"), &expert(&layer.gate_proj), &case.gradients["experts.1.gate_proj.weight"]);
        near(&format!("{what}, up"), &expert(&layer.up_proj), &case.gradients["experts.1.up_proj.weight"]);
        near(&format!("{what}, down"), &expert(&layer.down_proj), &case.gradients["experts.1.down_proj.weight"]);
    }
}

/// Zero where the gate gives the router none.
fn router_gradient(router: &Tensor) -> Tensor {
    let gradient = router.grad();
    if gradient.defined() { gradient } else { router.zeros_like() }
}
