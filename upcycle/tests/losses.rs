//! Router losses against the reference in `models/tests/golden/moe.py`, values and gradients, and the chunked head against autograd.

#[path = "../../models/tests/support/weights.rs"]
#[allow(dead_code)]
mod weights;

use coppice_models::config::{Gate, MoeConfig};
use coppice_models::init::{Source, normal};
use coppice_models::moe::Routing;
use coppice_models::router::Router;
use coppice_upcycle::train::TrainError;
use coppice_upcycle::train::losses::{cross_entropy_gradients, global_batch, micro_batch, router_z, sequence};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

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

/// A router's weight and balancing bias.
struct Only<'a>(&'a Tensor, Option<Tensor>);

impl Source for Only<'_> {
    fn tensor(&self, name: &str, _shape: &[i64]) -> coppice_models::Result<Tensor> {
        let bias = || self.1.as_ref().expect("a bias").shallow_clone();
        Ok(if name.ends_with("bias") { bias() } else { self.0.shallow_clone() })
    }

    fn optional(&self, _name: &str, _shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        Ok(None)
    }
}

/// The routing settings of a golden case.
fn settings(case: &Value) -> MoeConfig {
    MoeConfig {
        num_experts: 4,
        experts_per_token: case["experts_per_token"].as_i64().unwrap(),
        gate: gate(case),
        router_bias: !case["router_bias"].is_null(),
        router_logit_norm: case["logit_norm"].as_f64(),
        router_group_size: case["group_size"].as_i64().unwrap_or(1),
        ..MoeConfig::default()
    }
}

fn gate(case: &Value) -> Gate {
    case["gate"].as_str().unwrap().parse().unwrap()
}

/// What a router does with `x [T, D]`.
fn route(x: &Tensor, weight: &Tensor, case: &Value) -> Routing {
    let bias = case["router_bias"].as_array().map(|bias| bias.iter().map(|v| v.as_f64().unwrap() as f32).collect::<Vec<_>>());
    let source = Only(weight, bias.map(|bias| Tensor::from_slice(&bias)));
    let router = Router::new(&source, "mlp", weight.size()[1], &settings(case)).unwrap();
    let logits = router.logits(x).unwrap();
    let chosen = router.assign(&logits).unwrap();
    Routing { layer: 0, logits, computed: chosen.counts.shallow_clone(), counts: chosen.counts, tokens: chosen.tokens }
}

/// Sequences and micro-batches of the reference's tokens.
const SEQUENCES: i64 = 3;
const MICRO_BATCHES: i64 = 2;

/// A loss of a case on the tokens `x [T, D]`, by its name in the golden file.
fn loss(name: &str, x: &Tensor, router: &Tensor, case: &Value) -> Tensor {
    let whole = route(x, router, case);
    match name {
        "z" => router_z(&whole).unwrap(),
        "balance" => micro_batch(&whole, gate(case)).unwrap(),
        "balance_sequence" => sequence(&whole, gate(case), x.size()[0] / SEQUENCES).unwrap(),
        _ => over_micro_batches(x, router, case),
    }
}

/// The balance loss over a step's micro-batches, each with the counts so far.
fn over_micro_batches(x: &Tensor, router: &Tensor, case: &Value) -> Tensor {
    let mut seen = Tensor::zeros([4], (Kind::Int64, Device::Cpu));
    let mut each = |part: &Tensor| {
        let routing = route(part, router, case);
        seen = &seen + &routing.counts;
        global_batch(&routing, gate(case), &seen).unwrap()
    };
    let losses: Vec<Tensor> = x.chunk(MICRO_BATCHES, 0).iter().map(&mut each).collect();
    Tensor::stack(&losses, 0).mean(Kind::Float)
}

#[test]
fn router_losses_equal_the_reference() {
    let golden = golden();
    let x = made("x", &golden["inputs"]["x"]);
    for case in golden["cases"].as_array().unwrap() {
        for (name, expected) in case["losses"].as_object().unwrap() {
            let router = made("gate.weight", &golden["tensors"]["gate.weight"]).set_requires_grad(true);
            let found = loss(name, &x, &router, case);
            found.backward();
            let value = expected["value"].as_f64().unwrap();
            assert!((found.double_value(&[]) - value).abs() < TOLERANCE * value.max(1.0), "{name} {found:?} {expected}");
            assert!(farthest(&router.grad(), &matrix(&expected["router_gradient"])) < TOLERANCE, "{name} of {case}");
        }
    }
}

/// The routing of tokens in order, one expert each.
fn routing(logits: Tensor, experts: &[i64]) -> Routing {
    let n = logits.size()[1] as usize;
    let counts: Vec<i64> = (0..n as i64).map(|expert| experts.iter().filter(|&&e| e == expert).count() as i64).collect();
    let mut tokens: Vec<i64> = (0..experts.len() as i64).collect();
    tokens.sort_by_key(|&token| experts[token as usize]);
    let counts = Tensor::from_slice(&counts);
    Routing { layer: 0, logits, computed: counts.shallow_clone(), counts, tokens: Tensor::from_slice(&tokens) }
}

/// Logits so far apart that each token is sure of its expert.
fn sure(experts: &[i64], n: i64) -> Tensor {
    Tensor::from_slice(experts).one_hot(n).to_kind(Kind::Float) * 60.0
}

fn value(loss: Result<Tensor, TrainError>) -> f64 {
    loss.unwrap().double_value(&[])
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn balance_is_1_when_even_and_n_when_one_expert_gets_all() {
    for gate in [Gate::SoftmaxTopk, Gate::SigmoidTopkRenorm] {
        let even = routing(Tensor::zeros([8, 4], (Kind::Float, Device::Cpu)), &[0, 1, 2, 3, 0, 1, 2, 3]);
        near(value(micro_batch(&even, gate)), 1.0);
        near(value(sequence(&even, gate, 4)), 1.0);
        near(value(global_batch(&even, gate, &Tensor::from_slice(&[7_i64, 7, 7, 7]))), 1.0);
    }
    let one = [2; 8];
    let all = routing(sure(&one, 4), &one);
    near(value(micro_batch(&all, Gate::SoftmaxTopk)), 4.0);
    near(value(sequence(&all, Gate::SoftmaxTopk, 4)), 4.0);
    near(value(global_batch(&all, Gate::SoftmaxTopk, &(&all.counts + &all.counts))), 4.0);
}

#[test]
fn the_levels_differ_in_what_must_be_even() {
    // Each sequence of two tokens has an expert of its own: even over the batch, as uneven as can be in each sequence.
    let experts = [0, 0, 1, 1, 2, 2, 3, 3];
    let split = routing(sure(&experts, 4), &experts);
    near(value(micro_batch(&split, Gate::SoftmaxTopk)), 1.0);
    near(value(sequence(&split, Gate::SoftmaxTopk, 2)), 4.0);
    // A micro-batch of one expert is even where those before it were of the others.
    let last = routing(sure(&[3, 3], 4), &[3, 3]);
    near(value(micro_batch(&last, Gate::SoftmaxTopk)), 4.0);
    near(value(global_batch(&last, Gate::SoftmaxTopk, &Tensor::from_slice(&[2_i64, 2, 2, 2]))), 1.0);
    near(value(global_batch(&split, Gate::SoftmaxTopk, &split.counts)), value(micro_batch(&split, Gate::SoftmaxTopk)));
}

#[test]
fn z_of_zero_logits_is_the_squared_logarithm_of_n_and_0_where_they_are_normalised() {
    let zero = Tensor::zeros([6, 4], (Kind::Float, Device::Cpu));
    near(value(router_z(&routing(zero.shallow_clone(), &[0; 6]))), 4f64.ln().powi(2));
    near(value(router_z(&routing(zero - 4f64.ln(), &[0; 6]))), 0.0);
}

#[test]
fn chunks_of_the_head_add_up_to_the_whole() {
    // So wide a head that a chunk holds 25 of the 30 tokens.
    let (tokens, width, vocabulary) = (30, 4, 1 << 20);
    let random = |name: &str, rows: i64| Tensor::from_slice(&normal(1, name, (rows * width) as usize, 1.0)).view([rows, width]);
    let head = random("head", vocabulary).set_requires_grad(true);
    let hidden = random("hidden", tokens).set_requires_grad(true);
    let targets = Tensor::from_slice(&[3i64, 0, 1 << 19, 7, (1 << 20) - 1].repeat(6));
    let mut gradient = head.detach().ones_like();
    let found = cross_entropy_gradients(&hidden, &head, &targets, 1.0 / 30.0, &mut gradient).unwrap();
    let loss = hidden.matmul(&head.tr()).cross_entropy_for_logits(&targets);
    loss.backward();
    assert!((found.loss.double_value(&[]) / 30.0 - loss.double_value(&[])).abs() < 1e-5);
    assert!(farthest(&found.pull, &hidden.grad()) < 1e-6);
    assert!(farthest(&(gradient - 1.0), &head.grad()) < 1e-6);
}
