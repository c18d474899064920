//! Seconds of a training step of a slice at StableLM 2 1.6B's shapes on the CPU, dense or with routed experts in all layers, through the
//! real [`Trainer`]: parameters, gradients and moments in bf16 (with `--master=1` a master copy and moments in f32), norms clipped, metrics
//! written.
//!
//! ```sh
//! cargo run --release -p coppice-upcycle --example train_step -- moe --steps=3 --tokens=1024 [--layers=4] [--experts=8] [--chosen=2] [--master=1]
//! ```
//!
//! The first step warms up and is not counted. One JSON object: `{"seconds", "cpu_seconds", "losses", "peak_bytes", "base_bytes",
//! "parameters"}`: time by the clock and of all processors together, the largest resident size of the process, and that before anything was
//! allocated. `experiments/peers/train_step.py` runs it beside transformers.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use coppice_models::doctor::peak_resident_bytes;
use coppice_models::init::{Source, stream};
use coppice_models::{Config, Model, MoeConfig};
use coppice_upcycle::train::{Event, Resume, TokenStream, TrainConfig, Trainer};
use rand::Rng;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const VOCABULARY: i64 = 100_352;
const WIDTH: i64 = 5632;
const WARM_UP: usize = 1;

/// Weights in bf16 with deviation 0.02, cut from one pool of draws; LayerNorms one and zero.
struct Drawn {
    pool: Tensor,
}

impl Drawn {
    fn new() -> coppice_models::Result<Self> {
        tch::manual_seed(0);
        let draws = Tensor::f_randn([1 << 24], (Kind::Float, Device::Cpu))?;
        Ok(Self { pool: draws.f_mul_scalar(0.02)?.f_to_kind(Kind::BFloat16)? })
    }

    /// A tensor of `shape` whose values begin at a place of the pool that its name decides.
    fn cut(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        let (flat, size) = (Tensor::f_empty([shape.iter().product::<i64>()], (Kind::BFloat16, Device::Cpu))?, self.pool.size1()?);
        let (mut at, mut from) = (0, (stream(0, name).next_u64() % size.cast_unsigned()).cast_signed());
        while at < flat.size1()? {
            let length = (size - from).min(flat.size1()? - at);
            flat.f_narrow(0, at, length)?.f_copy_(&self.pool.f_narrow(0, from, length)?)?;
            (at, from) = (at + length, 0);
        }
        Ok(flat.f_view(shape)?)
    }
}

impl Source for Drawn {
    fn tensor(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        let on = (Kind::BFloat16, Device::Cpu);
        match () {
            () if name.ends_with(".bias") => Ok(Tensor::f_zeros(shape, on)?),
            () if name.contains("norm") => Ok(Tensor::f_ones(shape, on)?),
            () => self.cut(name, shape),
        }
    }

    fn optional(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        self.tensor(name, shape).map(Some)
    }

    fn packed(&self, names: &[String], shape: &[i64]) -> coppice_models::Result<Tensor> {
        let shape: Vec<i64> = std::iter::once(names.len() as i64).chain(shape.iter().copied()).collect();
        self.cut(&names[0], &shape)
    }
}

/// What was asked for: `dense` or `moe`, and numbers by name.
struct Options {
    routed: bool,
    numbers: BTreeMap<String, usize>,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let usage =
            "usage: train_step dense|moe [--steps=N] [--tokens=T] [--layers=L] [--experts=E] [--chosen=K] [--threads=N] [--master=1]";
        let arguments: Vec<String> = arguments.collect();
        let (kind, rest) = arguments.split_first().ok_or(usage)?;
        let number = |text: &String| Some((text.strip_prefix("--")?.split_once('=')?.0.to_owned(), text.split_once('=')?.1.parse().ok()?));
        let numbers = rest.iter().map(|text| number(text).ok_or(usage)).collect::<Result<_, _>>()?;
        if kind == "dense" || kind == "moe" { Ok(Self { routed: kind == "moe", numbers }) } else { Err(usage.into()) }
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.numbers.get(name).copied().unwrap_or(default)
    }

    fn config(&self) -> Result<Config, coppice_models::Error> {
        let layers = self.number("layers", 4);
        let config = Config::from_json(&json!({
            "model_type": "stablelm", "vocab_size": VOCABULARY, "hidden_size": 2048, "intermediate_size": WIDTH,
            "num_hidden_layers": layers, "num_attention_heads": 32, "max_position_embeddings": 4096, "use_qkv_bias": true,
        }))?;
        let moe = MoeConfig {
            num_experts: self.number("experts", 8) as i64,
            experts_per_token: self.number("chosen", 2) as i64,
            layers: (0..layers).collect(),
            expert_intermediate_size: WIDTH,
            ..MoeConfig::default()
        };
        Ok(Config { moe: self.routed.then_some(moe), ..config })
    }

    fn recipe(&self) -> Result<TrainConfig, serde_json::Error> {
        let precision = if self.number("master", 0) == 1 { "bf16_master" } else { "bf16" };
        serde_json::from_value(json!({
            "steps": 1 << 20, "sequence_length": self.number("tokens", 1024), "batch_size": 1, "precision": precision,
            "schedule": {"kind": "constant", "peak": 1e-4}, "log": {"expert_load_every": 0},
        }))
    }
}

/// Time that all threads of this process have computed.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Uniformly drawn ids, enough for some sequences.
fn tokens(length: usize) -> TokenStream {
    let mut rng = stream(1, "tokens");
    TokenStream::new((0..=8 * length).map(|_| (rng.next_u64() % VOCABULARY.cast_unsigned()) as u32).collect::<Vec<u32>>())
}

/// Trains `steps` steps after the warm-up in `folder`; and shows the seconds and losses of each.
fn run(options: &Options, folder: &Path) -> Result<(), Box<dyn Error>> {
    let base = peak_resident_bytes();
    let (config, recipe) = (options.config()?, options.recipe()?);
    let model = Model::new(&Drawn::new()?, &config, Device::Cpu)?;
    let parameters: usize = model.parameters().iter().map(|parameter| parameter.tensor.numel()).sum();
    let (mut seconds, mut cpu, mut losses, mut began) = (Vec::new(), vec![cpu_seconds()], Vec::new(), Instant::now());
    let mut each = |event: &Event| {
        let Event::Step(at) = event else { return };
        seconds.push(began.elapsed().as_secs_f64());
        cpu.push(cpu_seconds());
        losses.push(at.loss);
        began = Instant::now();
        if seconds.len() == WARM_UP + options.number("steps", 3) {
            let cpu: Vec<f64> = cpu.windows(2).skip(WARM_UP).map(|pair| pair[1] - pair[0]).collect();
            let peak = peak_resident_bytes();
            show(&json!({ "seconds": seconds[WARM_UP..], "cpu_seconds": cpu, "losses": losses, "peak_bytes": peak, "base_bytes": base,
                          "parameters": parameters, "threads": tch::get_num_threads() }));
            end(folder);
        }
    };
    let tokens = tokens(options.number("tokens", 1024));
    Trainer::new(model, recipe, tokens, None, folder)?.run(Resume::Never, &mut each, &AtomicBool::new(false))?;
    Ok(())
}

/// Ends the process without the checkpoint and the export of a finished run.
#[expect(clippy::exit, reason = "a run that returns writes a checkpoint of several times the model's size")]
fn end(folder: &Path) -> ! {
    std::fs::remove_dir_all(folder).ok();
    std::process::exit(0)
}

fn main() -> Result<(), Box<dyn Error>> {
    coppice_models::allocator::keep_freed_for_training()?;
    let options = Options::read(std::env::args().skip(1))?;
    if let Some(&threads) = options.numbers.get("threads") {
        tch::set_num_threads(threads as i32);
    }
    run(&options, &tempfile::tempdir()?.keep())
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn show(found: &serde_json::Value) {
    println!("{found}");
}
