//! AdamW and gradient clipping against torch's own (`tests/golden/make_optimizer.py`).

use coppice_models::state::Parameter;
use coppice_upcycle::train::optimizer::{AdamW, Norms, Update, is_router, norms};
use coppice_upcycle::train::parallel::Ranks;
use coppice_upcycle::train::recipe::{OptimizerConfig, Precision};
use serde_json::Value;
use tch::{Kind, Tensor};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/optimizer.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn tensor(values: &Value, shape: &Value) -> Tensor {
    let shape: Vec<i64> = numbers(shape).iter().map(|&size| size as i64).collect();
    Tensor::from_slice(&numbers(values)).to_kind(Kind::Float).view(&shape[..])
}

fn farthest(one: &Tensor, other: &Tensor) -> f64 {
    (one - other).abs().max().double_value(&[])
}

#[test]
fn adamw_equals_torch_over_20_steps() {
    let golden = &golden()["adamw"];
    let named = golden["parameters"].as_object().unwrap();
    let parameter = |(name, of): (&String, &Value)| Parameter {
        name: name.clone(),
        tensor: tensor(&of["initial"], &of["shape"]),
        packed: false,
        first: 0,
        trained: true,
    };
    let betas = numbers(&golden["betas"]);
    let decay = |name: &str| named[name]["weight_decay"].as_f64().unwrap();
    let parameters = named.iter().map(parameter).collect();
    let mut optimizer = AdamW::new(parameters, [betas[0], betas[1]], golden["eps"].as_f64().unwrap(), Precision::F32, decay).unwrap();
    let rates = numbers(&golden["learning_rates"]);
    assert_eq!(rates.len(), 20);
    for (step, rate) in rates.into_iter().enumerate() {
        let gradients: Vec<Tensor> = named.values().map(|of| tensor(&of["gradients"][step], &of["shape"])).collect();
        optimizer.update(&gradients, &Update { rate, grad_scale: None, found_inf: None }).unwrap();
        for (parameter, of) in optimizer.parameters().zip(named.values()) {
            let error = farthest(&parameter.tensor.detach(), &tensor(&of["weights"][step], &of["shape"]));
            assert!(error <= 1e-6, "{} at step {step}: {error}", parameter.name);
        }
    }
    assert_eq!(optimizer.updates(), 20);
}

fn plain(name: &str, tensor: Tensor) -> Parameter {
    Parameter { name: name.into(), tensor, packed: false, first: 0, trained: true }
}

fn norms_of(gradients: &[Tensor]) -> Norms {
    let parameters: Vec<_> = gradients.iter().map(|gradient| plain("w", gradient.shallow_clone())).collect();
    norms(parameters.iter(), gradients, &Ranks::alone()).unwrap()
}

#[test]
fn clipping_equals_torch() {
    for case in golden()["clipping"].as_array().unwrap() {
        let shapes = case["shapes"].as_array().unwrap();
        let part = |key: &str| -> Vec<Tensor> { case[key].as_array().unwrap().iter().zip(shapes).map(|(v, s)| tensor(v, s)).collect() };
        let gradients = part("gradients");
        let found = norms_of(&gradients);
        let norm = found.whole.double_value(&[]);
        assert!((norm - case["norm"].as_f64().unwrap()).abs() <= 1e-6 * norm.max(1.0));
        let divisor = found.divisor(case["max_norm"].as_f64().unwrap()).unwrap().unwrap();
        for (gradient, expected) in gradients.iter().zip(part("clipped")) {
            assert!(farthest(&(gradient / &divisor), &expected) <= 1e-6);
        }
    }
}

#[test]
fn a_limit_of_zero_never_clips() {
    let found = norms_of(&[Tensor::from_slice(&[3.0f32, 4.0])]);
    assert_eq!(found.whole.double_value(&[]), 5.0);
    assert!(found.divisor(0.0).unwrap().is_none());
}

#[test]
fn routers_have_a_norm_of_their_own() {
    let gradients = [Tensor::from_slice(&[3.0f32]), Tensor::from_slice(&[4.0f32])];
    let parameters = [plain("model.norm.weight", gradients[0].copy()), plain("model.layers.0.mlp.gate.weight", gradients[1].copy())];
    let found = norms(parameters.iter(), &gradients, &Ranks::alone()).unwrap();
    assert_eq!((found.whole.double_value(&[]), found.routers.unwrap().double_value(&[])), (5.0, 4.0));
}

/// One update of a single weight 1 by the gradient `pull`.
fn updated(precision: Precision, pull: f64, update: &Update) -> (AdamW, f64) {
    let kind = precision.parameters();
    let weight = Tensor::from_slice(&[1.0]).to_kind(kind);
    let mut optimizer = AdamW::new(vec![plain("w", weight.shallow_clone())], [0.9, 0.95], 1e-8, precision, |_| 0.0).unwrap();
    optimizer.update(&[Tensor::from_slice(&[pull]).to_kind(kind)], update).unwrap();
    (optimizer, weight.detach().double_value(&[0]))
}

#[test]
fn a_gradient_that_is_not_finite_moves_nothing() {
    let gradients = [Tensor::from_slice(&[f32::NAN])];
    let not_finite = norms_of(&gradients).not_finite().unwrap();
    assert_eq!(not_finite.double_value(&[]), 1.0);
    let update = Update { rate: 0.1, grad_scale: None, found_inf: Some(&not_finite) };
    for precision in [Precision::F32, Precision::Bf16, Precision::Bf16Master] {
        let (optimizer, weight) = updated(precision, f64::NAN, &update);
        assert_eq!(weight, 1.0);
        assert!(optimizer.state().all(|kept| kept.tensor.isfinite().all().int64_value(&[]) == 1));
    }
}

#[test]
fn a_master_copy_keeps_what_bf16_would_lose() {
    // The first update of AdamW moves by the rate, whatever the gradient's size; 1e-3 is below bf16's half step at 1, which is 1/256.
    let update = Update { rate: 1e-3, grad_scale: None, found_inf: None };
    let (optimizer, weight) = updated(Precision::Bf16Master, 0.5, &update);
    let master = optimizer.state().find(|kept| kept.name == "master.w").unwrap().tensor.double_value(&[0]);
    assert!((master - 0.999).abs() < 1e-6 && weight == 1.0, "{master} {weight}");
    let (optimizer, weight) = updated(Precision::Bf16, 0.5, &update);
    assert!(weight == 1.0 && optimizer.state().all(|kept| kept.tensor.kind() == Kind::BFloat16));
}

#[test]
fn gradients_are_divided_by_the_scale() {
    let scale = Tensor::from(4.0f32);
    let first_moment = |scale| {
        let (optimizer, _) = updated(Precision::F32, 2.0, &Update { rate: 0.1, grad_scale: scale, found_inf: None });
        optimizer.state().next().unwrap().tensor.double_value(&[0])
    };
    assert!((first_moment(Some(&scale)) - 0.05).abs() < 1e-7 && (first_moment(None) - 0.2).abs() < 1e-7);
}

#[test]
fn decay_is_for_matrices_and_for_others_by_option() {
    let base = OptimizerConfig { weight_decay: 0.5, ..OptimizerConfig::default() };
    let names = [
        "model.embed_tokens.weight",
        "model.layers.0.mlp.experts.{}.gate_proj.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.self_attn.q_layernorm.norms.{}.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.norm.bias",
        "model.layers.0.mlp.gate.weight",
    ];
    let decays = |config: &OptimizerConfig| names.map(|name| config.decay_of(name));
    assert_eq!(decays(&base), [0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(decays(&OptimizerConfig { decay_norms: true, ..base.clone() }), [0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0]);
    assert_eq!(decays(&OptimizerConfig { decay_biases: true, ..base.clone() }), [0.5, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.0]);
    assert_eq!(decays(&OptimizerConfig { decay_router: true, ..base }), [0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5]);
    assert!(is_router(names[7]) && !is_router("model.layers.0.mlp.gate_proj.weight"));
}
