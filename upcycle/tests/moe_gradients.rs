//! The routed MLP on grouped products (f32) against a loop over experts in f64 whose gradients pass finite differences.

use std::collections::HashMap;

use coppice_models::init::{Source, normal};
use coppice_models::moe::Moe;
use coppice_models::{Gate, MoeConfig};
use tch::{Kind, Tensor};

// T tokens, D hidden, F expert width, N experts, K chosen experts.
const TOKENS: i64 = 24;
const HIDDEN: i64 = 16;
const WIDTH: i64 = 24;
/// Largest relative error between f32 and f64, `‖Δ‖ / ‖f64‖`.
const TOLERANCE: f64 = 1e-5;

/// Weights and input of one layer in f64: `x [T, D]`, `mlp.gate.weight [N, D]` and the experts' matrices.
struct Case {
    moe: MoeConfig,
    tensors: HashMap<String, Tensor>,
    pull: Tensor, // [T, D], the gradient that arrives from above
}

impl Case {
    fn new(gate: Gate, experts: i64, top_k: i64) -> Self {
        let moe = MoeConfig {
            num_experts: experts,
            experts_per_token: top_k,
            gate,
            layers: vec![0],
            expert_intermediate_size: WIDTH,
            ..MoeConfig::default()
        };
        let mut shapes = vec![("x".to_owned(), [TOKENS, HIDDEN], 1.0), ("mlp.gate.weight".to_owned(), [experts, HIDDEN], 0.5)];
        for expert in 0..experts {
            let name = |matrix: &str| format!("mlp.experts.{expert}.{matrix}.weight");
            shapes.push((name("gate_proj"), [WIDTH, HIDDEN], 0.3));
            shapes.push((name("up_proj"), [WIDTH, HIDDEN], 0.3));
            shapes.push((name("down_proj"), [HIDDEN, WIDTH], 0.3));
        }
        let tensors = shapes.into_iter().map(|(name, shape, std)| (name.clone(), draw(&name, shape, std))).collect();
        Self { moe, tensors, pull: draw("pull", [TOKENS, HIDDEN], 1.0) }
    }

    /// Makes the last expert the least likely for every token, by a constant input that only its router row reads.
    fn starve_last(self) -> Self {
        let _ = self.get("x").narrow(1, 0, 1).fill_(1.0);
        let _ = self.get("mlp.gate.weight").narrow(1, 0, 1).zero_();
        let _ = self.get("mlp.gate.weight").get(self.moe.num_experts - 1).narrow(0, 0, 1).fill_(-100.0);
        self
    }

    fn get(&self, name: &str) -> Tensor {
        self.tensors[name].shallow_clone()
    }

    /// Fresh leaves of the given type that collect gradients.
    fn leaves(&self, kind: Kind) -> HashMap<String, Tensor> {
        let leaf = |tensor: &Tensor| tensor.to_kind(kind).copy().set_requires_grad(true);
        self.tensors.iter().map(|(name, tensor)| (name.clone(), leaf(tensor))).collect()
    }
}

fn draw(name: &str, shape: [i64; 2], std: f64) -> Tensor {
    Tensor::from_slice(&normal(11, name, (shape[0] * shape[1]) as usize, std)).view(shape).to_kind(Kind::Double)
}

/// The definition: every expert on every token, each weighted by what the gate gives it. Which experts are chosen is taken from
/// `logits` by ranking, which is constant under small changes.
fn looped(tensors: &HashMap<String, Tensor>, moe: &MoeConfig) -> Tensor {
    let x = &tensors["x"];
    let logits = x.matmul(&tensors["mlp.gate.weight"].tr()); // [T, N]
    let chosen = chosen(&logits, moe).to_kind(Kind::Double);
    let weights = weights(&logits, &chosen, moe.gate); // [T, N], zero where not chosen
    let mut y = x.zeros_like();
    for expert in 0..moe.num_experts {
        let matrix = |name: &str| tensors[&format!("mlp.experts.{expert}.{name}.weight")].tr();
        let inner = x.matmul(&matrix("gate_proj")).silu() * x.matmul(&matrix("up_proj"));
        y += inner.matmul(&matrix("down_proj")) * weights.narrow(1, expert, 1);
    }
    y
}

/// Which expert computes which token, `[T, N]`: the first `K` of a token's ranking, or the first of an expert's.
fn chosen(logits: &Tensor, moe: &MoeConfig) -> Tensor {
    if moe.gate.is_expert_choice() {
        let p = logits.softmax(-1, Kind::Double);
        let room = (TOKENS * moe.experts_per_token / moe.num_experts).max(1);
        return p.argsort(0, true).argsort(0, false).lt(room);
    }
    logits.argsort(-1, true).argsort(-1, false).lt(moe.experts_per_token)
}

fn weights(logits: &Tensor, chosen: &Tensor, gate: Gate) -> Tensor {
    let p = logits.exp() / logits.exp().sum_dim_intlist([-1].as_slice(), true, Kind::Double) * chosen;
    let total = p.sum_dim_intlist([-1].as_slice(), true, Kind::Double);
    match gate {
        Gate::TopkSoftmax => {
            let z = logits.exp() * chosen;
            &z / z.sum_dim_intlist([-1].as_slice(), true, Kind::Double)
        }
        Gate::SigmoidTopkRenorm => {
            let s = chosen / ((-logits).exp() + 1.0);
            &s / s.sum_dim_intlist([-1].as_slice(), true, Kind::Double)
        }
        Gate::SoftmaxTopk | Gate::ExpertChoice => p,
        Gate::ExpertChoiceRenorm => p / (&total + total.eq(0.0).to_kind(Kind::Double)),
        Gate::SoftmaxTopkRenorm => p / total,
        Gate::SoftmaxTopkSt => p / total.detach(),
    }
}

/// Hands the leaves to [`Moe`]; experts are stacked, so gradients reach each of them.
struct Leaves<'a>(&'a HashMap<String, Tensor>);

impl Source for Leaves<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        assert_eq!(self.0[name].size(), shape, "{name}");
        Ok(self.0[name].shallow_clone())
    }

    fn optional(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        self.tensor(name, shape).map(Some)
    }
}

fn grouped(leaves: &HashMap<String, Tensor>, moe: &MoeConfig) -> (Tensor, Tensor) {
    let (y, routing) = Moe::new(&Leaves(leaves), "mlp", HIDDEN, moe).unwrap().forward(&leaves["x"], 0, None).unwrap();
    (y, routing.counts)
}

fn gradient(leaf: &Tensor) -> Tensor {
    let gradient = leaf.grad();
    (if gradient.defined() { gradient } else { leaf.zeros_like() }).to_kind(Kind::Double)
}

/// Holds the grouped layer in f32 against the loop in f64: the output and the gradient of every tensor.
fn agree(case: &Case) {
    let what = format!("{} N {} K {}", case.moe.gate.name(), case.moe.num_experts, case.moe.experts_per_token);
    let (exact, single) = (case.leaves(Kind::Double), case.leaves(Kind::Float));
    let wanted = looped(&exact, &case.moe);
    let (found, _) = grouped(&single, &case.moe);
    (&wanted * &case.pull).sum(Kind::Double).backward();
    (&found * case.pull.to_kind(Kind::Float)).sum(Kind::Float).backward();
    close(&what, &wanted, &found.to_kind(Kind::Double));
    for name in exact.keys() {
        close(&format!("{what}: gradient of {name}"), &gradient(&exact[name]), &gradient(&single[name]));
    }
}

/// Relative to the wanted norm. Where that is zero in exact arithmetic (a renormalised single weight) f32 leaves its rounding of
/// terms of size 1, which cancel.
fn close(what: &str, wanted: &Tensor, found: &Tensor) {
    let (apart, norm) = ((found - wanted).norm().double_value(&[]), wanted.norm().double_value(&[]));
    assert!(apart <= TOLERANCE * if norm < 1e-12 { 1.0 } else { norm }, "{what}: {apart:e} of {norm:e}");
}

fn shapes() -> Vec<(i64, i64)> {
    vec![(1, 1), (2, 1), (4, 1), (4, 2), (4, 4), (8, 3), (16, 2)]
}

#[test]
fn the_grouped_path_equals_the_loop_in_values_and_gradients() {
    for gate in Gate::ALL {
        for (experts, top_k) in shapes() {
            agree(&Case::new(gate, experts, top_k));
        }
    }
}

#[test]
fn experts_without_tokens_get_no_gradient_and_disturb_nothing() {
    for gate in Gate::ALL.into_iter().filter(|gate| !gate.is_expert_choice()) {
        for (experts, top_k) in [(2, 1), (4, 2), (8, 3)] {
            let case = Case::new(gate, experts, top_k).starve_last();
            agree(&case);
            let leaves = case.leaves(Kind::Float);
            let (y, counts) = grouped(&leaves, &case.moe);
            assert_eq!(counts.int64_value(&[experts - 1]), 0);
            (y * case.pull.to_kind(Kind::Float)).sum(Kind::Float).backward();
            let idle = gradient(&leaves[&format!("mlp.experts.{}.up_proj.weight", experts - 1)]);
            assert_eq!(idle.abs().max().double_value(&[]), 0.0);
        }
    }
}

/// Central differences in f64. The `st` gate is left out: its gradient is by design not that of its value.
#[test]
fn the_loops_gradients_pass_finite_differences() {
    const STEP: f64 = 1e-6;
    for gate in Gate::ALL.into_iter().filter(|&gate| gate != Gate::SoftmaxTopkSt) {
        let case = Case::new(gate, 4, 2);
        let leaves = case.leaves(Kind::Double);
        let loss = |tensors: &HashMap<String, Tensor>| (looped(tensors, &case.moe) * &case.pull).sum(Kind::Double);
        loss(&leaves).backward();
        for name in
            ["x", "mlp.gate.weight", "mlp.experts.0.gate_proj.weight", "mlp.experts.2.up_proj.weight", "mlp.experts.3.down_proj.weight"]
        {
            let direction = draw("direction", [1, leaves[name].numel() as i64], 1.0).view(&leaves[name].size()[..]);
            let moved = |by: f64| {
                let mut tensors: HashMap<_, _> = leaves.iter().map(|(key, leaf)| (key.clone(), leaf.detach())).collect();
                tensors.insert(name.to_owned(), leaves[name].detach() + &direction * by);
                loss(&tensors).double_value(&[])
            };
            let numeric = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let analytic = (gradient(&leaves[name]) * &direction).sum(Kind::Double).double_value(&[]);
            assert!((numeric - analytic).abs() <= 1e-6 * analytic.abs().max(1.0), "{} {name}: {numeric} {analytic}", gate.name());
        }
    }
}

/// `d(p / stop_gradient(total))` is `dp / total`: the gradient of `softmax_topk`, divided by the chosen experts' total.
#[test]
fn the_straight_through_gate_passes_the_switch_gradient_scaled() {
    let case = Case::new(Gate::SoftmaxTopkSt, 4, 1);
    let (through, switch) = (case.leaves(Kind::Double), case.leaves(Kind::Double));
    (looped(&through, &case.moe) * &case.pull).sum(Kind::Double).backward();
    let plain = MoeConfig { gate: Gate::SoftmaxTopk, ..case.moe.clone() };
    let logits = switch["x"].matmul(&switch["mlp.gate.weight"].tr());
    let largest = logits.softmax(-1, Kind::Double).amax([-1].as_slice(), true).detach(); // [T, 1]
    (looped(&switch, &plain) * &case.pull / largest).sum(Kind::Double).backward();
    close("router", &gradient(&switch["mlp.gate.weight"]), &gradient(&through["mlp.gate.weight"]));
}

#[test]
fn at_top_1_the_mixtral_order_starves_the_router_and_the_straight_through_gate_feeds_it() {
    let router_gradient = |gate| {
        let case = Case::new(gate, 4, 1);
        let leaves = case.leaves(Kind::Float);
        let (y, _) = grouped(&leaves, &case.moe);
        (y * case.pull.to_kind(Kind::Float)).sum(Kind::Float).backward();
        gradient(&leaves["mlp.gate.weight"]).norm().double_value(&[])
    };
    assert_eq!(router_gradient(Gate::TopkSoftmax), 0.0);
    assert!(router_gradient(Gate::SoftmaxTopkSt) > 1e-2);
}
