//! Time of one routed MLP against a dense one of the same active FLOPs, forward and backward, in bf16 on the CPU.
//!
//! The limit is the dense MLP: the same multiplications in one piece. What routing adds is choosing, sorting, gathering and adding
//! back. Shapes are those of a StableLM 2 1.6B layer: D 2048, F 5632, 8 experts, 2 for each of 2,048 tokens; the dense MLP is twice as
//! wide. Gradients are taken of the input and of all weights. One round of each in turn, `--repeats` rounds, one JSON object.
//!
//! ```sh
//! cargo run --release -p coppice-models --example moe_layer -- --repeats 5
//! ```

use std::error::Error;
use std::time::Instant;

use coppice_models::MoeConfig;
use coppice_models::init::{Source, normal};
use coppice_models::model::Mlp;
use coppice_models::moe::Moe;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const TOKENS: i64 = 2048;
const HIDDEN: i64 = 2048;
const WIDTH: i64 = 5632;
/// Rounds until the allocator has what a step asks for.
const WARM_UP: usize = 2;

/// Seeded weights in bf16 that want gradients.
struct Drawn;

impl Source for Drawn {
    fn tensor(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        Ok(drawn(name, shape, 0.02)?.f_set_requires_grad(true)?)
    }

    fn optional(&self, _name: &str, _shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        Ok(None)
    }

    fn packed(&self, names: &[String], shape: &[i64]) -> coppice_models::Result<Tensor> {
        let shape: Vec<i64> = std::iter::once(names.len() as i64).chain(shape.iter().copied()).collect();
        self.tensor(&names[0], &shape)
    }
}

fn drawn(name: &str, shape: &[i64], std: f64) -> coppice_models::Result<Tensor> {
    let values = normal(7, name, shape.iter().product::<i64>() as usize, std);
    Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_kind(Kind::BFloat16)?)
}

/// Milliseconds of one forward and backward pass.
fn pass(
    x: &Tensor,
    pull: &Tensor,
    weights: &[&Tensor],
    run: impl Fn(&Tensor) -> coppice_models::Result<Tensor>,
) -> coppice_models::Result<f64> {
    let start = Instant::now();
    let y = run(x)?;
    let loss = y.f_mul(pull)?.f_sum(Kind::Float)?;
    let wanted: Vec<&Tensor> = std::iter::once(x).chain(weights.iter().copied()).collect();
    drop(Tensor::f_run_backward(&[loss], &wanted, false, false)?);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let repeats: usize = match &arguments[..] {
        [] => 5,
        [flag, count] if flag == "--repeats" => count.parse()?,
        _ => return Err("usage: moe_layer [--repeats R]".into()),
    };
    coppice_models::allocator::keep_freed_for_training()?;
    let config = MoeConfig { layers: vec![0], expert_intermediate_size: WIDTH, ..MoeConfig::default() };
    let moe = Moe::new(&Drawn, "mlp", HIDDEN, &config)?;
    let dense = Mlp::new(&Drawn, "dense", HIDDEN, WIDTH * config.experts_per_token)?;
    let x = drawn("x", &[TOKENS, HIDDEN], 1.0)?.f_set_requires_grad(true)?;
    let pull = drawn("pull", &[TOKENS, HIDDEN], 1.0)?.f_to_device(Device::Cpu)?;
    let routed = [&moe.router.weight, &moe.gate_proj, &moe.up_proj, &moe.down_proj];
    let plain = [&dense.gate_proj.weight, &dense.up_proj.weight, &dense.down_proj.weight];
    let (mut moe_ms, mut dense_ms) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + repeats {
        let one = pass(&x, &pull, &routed, |x| Ok(moe.forward(x, 0, None)?.0))?;
        let other = pass(&x, &pull, &plain, |x| dense.forward(x))?;
        if round >= WARM_UP {
            moe_ms.push(one);
            dense_ms.push(other);
        }
    }
    show(&json!({ "moe_ms": moe_ms, "dense_ms": dense_ms, "threads": tch::get_num_threads() }));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn show(found: &serde_json::Value) {
    println!("{found}");
}
