//! AdamW and gradient clipping against torch's own (`tests/golden/make_optimizer.py`).

use coppice_models::state::Parameter;
use coppice_upcycle::train::optimizer::{AdamW, clip, is_router, norm};
use coppice_upcycle::train::recipe::OptimizerConfig;
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
        trained: true,
    };
    let betas = numbers(&golden["betas"]);
    let decay = |name: &str| named[name]["weight_decay"].as_f64().unwrap();
    let parameters = named.iter().map(parameter).collect();
    let mut optimizer = AdamW::new(parameters, [betas[0], betas[1]], golden["eps"].as_f64().unwrap(), decay).unwrap();
    let rates = numbers(&golden["learning_rates"]);
    assert_eq!(rates.len(), 20);
    for (step, rate) in rates.into_iter().enumerate() {
        let gradients: Vec<Tensor> = named.values().map(|of| tensor(&of["gradients"][step], &of["shape"])).collect();
        optimizer.update(&gradients, rate).unwrap();
        for (parameter, of) in optimizer.parameters().zip(named.values()) {
            let error = farthest(&parameter.tensor.detach(), &tensor(&of["weights"][step], &of["shape"]));
            assert!(error <= 1e-6, "{} at step {step}: {error}", parameter.name);
        }
    }
    assert_eq!(optimizer.updates(), 20);
}

#[test]
fn clipping_equals_torch() {
    for case in golden()["clipping"].as_array().unwrap() {
        let shapes = case["shapes"].as_array().unwrap();
        let part = |key: &str| -> Vec<Tensor> { case[key].as_array().unwrap().iter().zip(shapes).map(|(v, s)| tensor(v, s)).collect() };
        let mut gradients = part("gradients");
        let found = norm(&gradients).unwrap();
        assert!((found - case["norm"].as_f64().unwrap()).abs() <= 1e-6 * found.max(1.0));
        clip(&mut gradients, found, case["max_norm"].as_f64().unwrap()).unwrap();
        for (gradient, expected) in gradients.iter().zip(part("clipped")) {
            assert!(farthest(gradient, &expected) <= 1e-6);
        }
    }
}

#[test]
fn a_limit_of_zero_never_clips() {
    let mut gradients = vec![Tensor::from_slice(&[3.0f32, 4.0])];
    let found = norm(&gradients).unwrap();
    assert_eq!(found, 5.0);
    clip(&mut gradients, found, 0.0).unwrap();
    assert_eq!(Vec::<f32>::try_from(&gradients[0]).unwrap(), [3.0, 4.0]);
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
