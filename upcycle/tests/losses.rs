//! Router losses against the reference in `models/tests/golden/moe.py`, values and gradients, and the chunked head against autograd.

#[path = "../../models/tests/support/weights.rs"]
#[allow(dead_code)]
mod weights;

use coppice_models::config::{Gate, MoeConfig};
use coppice_models::init::{Source, normal};
use coppice_models::moe::Routing;
use coppice_models::router::Router;
use coppice_upcycle::train::TrainError;
use coppice_upcycle::train::losses::{balance, cross_entropy_gradients, router_z};
use serde_json::Value;
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../models/tests/golden/moe.json")).unwrap()
}

fn made(name: &str, recipe: &Value) -> Tensor {
    let shape: Vec<i64> = recipe["shape"].as_array().unwrap().iter().map(|size| size.as_i64().unwrap()).collect();
    let (offset, scale) = (recipe["offset"].as_f64().unwrap(), recipe["scale"].as_f64().unwrap());
    Tensor::from_slice(&weights::tensor(name, shape.iter().product::<i64>() as usize, offset as _, scale as _)).view(&shape[..])
}

fn matrix(value: &Value) -> Tensor {
    let rows = value.as_array().unwrap().iter().map(|row| row.as_array().unwrap());
    let rows: Vec<Tensor> = rows.map(|row| Tensor::from_slice(&row.iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>())).collect();
    Tensor::stack(&rows, 0)
}

fn farthest(one: &Tensor, other: &Tensor) -> f64 {
    (one.to_kind(Kind::Double) - other.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// A router's weight, whatever the name.
struct Only<'a>(&'a Tensor);

impl Source for Only<'_> {
    fn tensor(&self, _name: &str, _shape: &[i64]) -> coppice_models::Result<Tensor> {
        Ok(self.0.shallow_clone())
    }

    fn optional(&self, _name: &str, _shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        Ok(None)
    }
}

/// What a router does with `x [T, D]`.
fn route(x: &Tensor, weight: &Tensor, gate: Gate, k: i64) -> Routing {
    let (num_experts, hidden) = weight.size2().unwrap();
    let config = MoeConfig { num_experts, experts_per_token: k, gate, ..MoeConfig::default() };
    let router = Router::new(&Only(weight), "mlp", hidden, &config).unwrap();
    let logits = router.logits(x).unwrap();
    let chosen = router.assign(&logits).unwrap();
    Routing { layer: 0, logits, computed: chosen.counts.shallow_clone(), counts: chosen.counts, tokens: chosen.tokens }
}

#[test]
fn router_losses_equal_the_reference() {
    let golden = golden();
    let x = made("x", &golden["inputs"]["x"]);
    for case in golden["cases"].as_array().unwrap() {
        let gate = case["gate"].as_str().unwrap().parse().unwrap();
        for (name, loss) in [("balance", balance as fn(&Routing) -> Result<Tensor, TrainError>), ("z", router_z)] {
            let router = made("gate.weight", &golden["tensors"]["gate.weight"]).set_requires_grad(true);
            let found = loss(&route(&x, &router, gate, case["experts_per_token"].as_i64().unwrap())).unwrap();
            found.backward();
            let expected = &case["losses"][name];
            assert!((found.double_value(&[]) - expected["value"].as_f64().unwrap()).abs() < TOLERANCE, "{name} {found:?}");
            assert!(farthest(&router.grad(), &matrix(&expected["router_gradient"])) < TOLERANCE, "{name} of {gate:?}");
        }
    }
}

#[test]
fn balance_is_1_when_even_and_n_when_one_expert_gets_all() {
    let routing = |logits: Tensor, counts: &[i64]| {
        let (counts, tokens) = (Tensor::from_slice(counts), Tensor::from_slice::<i64>(&[]));
        Routing { layer: 0, logits, computed: counts.shallow_clone(), counts, tokens }
    };
    let even = routing(Tensor::zeros([6, 4], (Kind::Float, tch::Device::Cpu)), &[3, 3, 3, 3]);
    assert!((balance(&even).unwrap().double_value(&[]) - 1.0).abs() < 1e-6);
    assert!((router_z(&even).unwrap().double_value(&[]) - 4f64.ln().powi(2)).abs() < 1e-6);
    let one = Tensor::from_slice(&[0f32, 0.0, 50.0, 0.0]).repeat([6, 1]);
    assert!((balance(&routing(one, &[0, 0, 6, 0])).unwrap().double_value(&[]) - 4.0).abs() < 1e-6);
}

#[test]
fn chunks_of_the_head_add_up_to_the_whole() {
    // So wide a head that a chunk holds two of the five tokens.
    let (tokens, width, vocabulary) = (5, 4, 1 << 20);
    let random = |name: &str, rows: i64| Tensor::from_slice(&normal(1, name, (rows * width) as usize, 1.0)).view([rows, width]);
    let head = random("head", vocabulary).set_requires_grad(true);
    let hidden = random("hidden", tokens).set_requires_grad(true);
    let targets = Tensor::from_slice(&[3i64, 0, 1 << 19, 7, (1 << 20) - 1]);
    let found = cross_entropy_gradients(&hidden, &head, &targets, 0.2).unwrap();
    let loss = hidden.matmul(&head.tr()).cross_entropy_for_logits(&targets);
    loss.backward();
    assert!((found.loss.double_value(&[]) / 5.0 - loss.double_value(&[])).abs() < 1e-5);
    assert!(farthest(&found.hidden, &hidden.grad()) < 1e-6);
    assert!(farthest(&found.head, &head.grad()) < 1e-6);
}
