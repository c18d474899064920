//! The routed MLP on grouped matrix products (f32) against a loop over tokens and experts in f64, values and gradients.
//!
//! The reference is `tests/golden/moe.py`, whose gradients pass finite differences.

mod support;

use std::collections::BTreeMap;

use coppice_models::config::{MoeConfig, SharedExpert};
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
    router_bias: Option<Vec<f32>>,
    logit_norm: Option<f64>,
    group_size: Option<i64>,
    shared: Option<String>, // "plain" or "gated"
    output: Vec<Vec<f64>>,
    gradients: BTreeMap<String, Vec<Vec<f64>>>,
}

fn make(name: &str, recipe: &Recipe) -> Tensor {
    let values = weights::tensor(name, recipe.shape.iter().product::<i64>() as usize, recipe.offset, recipe.scale);
    Tensor::from_slice(&values).view(&recipe.shape[..]).set_requires_grad(true)
}

/// The tensors of one case.
struct Made<'a>(&'a Golden, &'a Case);

impl Source for Made<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        let name = name.strip_prefix("mlp.").expect("the prefix the test gave");
        if name == "gate.e_score_correction_bias" {
            return Ok(Tensor::from_slice(self.1.router_bias.as_ref().expect("a bias")).view(shape));
        }
        assert_eq!(self.0.tensors[name].shape, shape, "{name}");
        Ok(make(name, &self.0.tensors[name]))
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
        let (router, width) = (&self.tensors["gate.weight"].shape, |name: &str| self.tensors[name].shape[0]);
        let shared = |kind: &String| SharedExpert { intermediate_size: width("shared_expert.gate_proj.weight"), gated: kind == "gated" };
        let config = MoeConfig {
            num_experts: router[0],
            experts_per_token: case.experts_per_token,
            gate: case.gate.parse().expect("a known gate"),
            layers: vec![0],
            expert_intermediate_size: width("experts.0.gate_proj.weight"),
            router_bias: case.router_bias.is_some(),
            router_logit_norm: case.logit_norm,
            router_group_size: case.group_size.unwrap_or(1),
            shared_expert: case.shared.as_ref().map(shared),
            upcycling: None,
        };
        Moe::new(&Made(self, case), "mlp", router[1], &config).expect("a layer")
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
fn every_case_matches_the_loop() {
    let golden: Golden = golden::read("moe");
    for (number, case) in golden.cases.iter().enumerate() {
        let what = format!("case {number}, {}, top {}", case.gate, case.experts_per_token);
        let (layer, x) = (golden.layer(case), make("x", &golden.inputs["x"]));
        let (y, routing) = layer.forward(&x, 0, None).expect("a forward pass");
        near(&what, &y, &case.output);
        assert_eq!(routing.counts.sum(Kind::Int64).int64_value(&[]), x.size()[0] * case.experts_per_token, "{what}");
        let pull = make("output_gradient", &golden.inputs["output_gradient"]).detach();
        (y * pull).sum(Kind::Float).backward();
        let found = gradients(&layer, &x);
        assert!(case.gradients.keys().all(|name| found.contains_key(name.as_str())), "{what}: a gradient is not compared");
        for (name, gradient) in &found {
            near(&format!("{what}, {name}"), gradient, &case.gradients[*name]);
        }
    }
}

/// Every gradient of a layer that the golden file has, under its name there.
fn gradients(layer: &Moe, x: &Tensor) -> BTreeMap<&'static str, Tensor> {
    let mut found = BTreeMap::from([
        ("x", x.grad()),
        ("gate.weight", router_gradient(&layer.router.weight)),
        ("experts.1.gate_proj.weight", layer.gate_proj.grad().get(1)),
        ("experts.1.up_proj.weight", layer.up_proj.grad().get(1)),
        ("experts.1.down_proj.weight", layer.down_proj.grad().get(1)),
    ]);
    if let Some(shared) = &layer.shared {
        found.insert("shared_expert.gate_proj.weight", shared.mlp.gate_proj.weight.grad());
        found.insert("shared_expert.up_proj.weight", shared.mlp.up_proj.weight.grad());
        found.insert("shared_expert.down_proj.weight", shared.mlp.down_proj.weight.grad());
        found.extend(shared.gate.as_ref().map(|gate| ("shared_expert_gate.weight", gate.grad())));
    }
    found
}

/// Zero where the gate gives the router none.
fn router_gradient(router: &Tensor) -> Tensor {
    let gradient = router.grad();
    if gradient.defined() { gradient } else { router.zeros_like() }
}
