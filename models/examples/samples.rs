//! What ten samples of a prompt, and the traces detectors read, cost beside one plain answer, on the shapes of StableLM 2 1.6B in bf16.
//!
//! `cargo run --release -p coppice-models --example samples [PROMPT NEW REPEATS]` (96, 64 and 5 tokens or times where not given). The weights
//! are random, so answers mean nothing and end at their length; 3.3 GB of memory. The runs take turns. Two figures relative to the plain
//! answer: the median over the turns of the time relative to that of the same turn, and the fastest turn relative to its fastest, which is
//! what a busy machine disturbs least.

use std::error::Error;
use std::time::Instant;

use coppice_models::config::Config;
use coppice_models::generate::{Options, generate};
use coppice_models::init::Source;
use coppice_models::observe::Observe;
use coppice_models::sampling::Sampling;
use coppice_models::{Model, Result as ModelResult};
use tch::{Device, Kind, Tensor};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Random bf16 matrices, norms of one, biases of zero.
struct Drawn;

impl Source for Drawn {
    fn tensor(&self, name: &str, shape: &[i64]) -> ModelResult<Tensor> {
        let on = (Kind::BFloat16, Device::Cpu);
        if name.ends_with(".bias") {
            return Ok(Tensor::f_zeros(shape, on)?);
        }
        if name.contains("norm") { Ok(Tensor::f_ones(shape, on)?) } else { Ok(Tensor::f_randn(shape, on)?.f_mul_scalar_(0.02)?) }
    }

    fn optional(&self, name: &str, shape: &[i64]) -> ModelResult<Option<Tensor>> {
        self.tensor(name, shape).map(Some)
    }
}

/// The published shape.
fn config() -> Config {
    Config {
        vocab_size: 100_352,
        hidden_size: 2048,
        intermediate_size: 5632,
        num_hidden_layers: 24,
        num_attention_heads: 32,
        num_key_value_heads: 32,
        max_position_embeddings: 4096,
        partial_rotary_factor: 0.25,
        rope_theta: 10_000.0,
        layer_norm_eps: 1e-5,
        layer_norm_bias: true,
        use_qkv_bias: true,
        qk_layernorm: false,
        use_parallel_residual: false,
        tie_word_embeddings: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        moe: None,
    }
}

fn main() -> Result<()> {
    let given = std::env::args().skip(1).map(|word| Ok(word.parse()?)).collect::<Result<Vec<usize>>>()?;
    let [prompt, new, repeats] = [(0, 96), (1, 64), (2, 5)].map(|(place, usual)| given.get(place).copied().unwrap_or(usual));
    let model = Model::new(&Drawn, &config(), Device::Cpu)?;
    let runs = runs(new);
    let mut seconds = vec![Vec::new(); runs.len()];
    for turn in 0..=repeats {
        for ((_, options), times) in runs.iter().zip(&mut seconds) {
            let time = timed(&model, prompt, options)?;
            times.extend((turn > 0).then_some(time)); // the first turn warms up
        }
    }
    show(format!("{prompt} tokens of prompt, {new} of answer, {} threads, load {}", tch::get_num_threads(), load()));
    runs.iter().zip(&seconds).for_each(|((name, _), times)| show(row(name, times, &seconds[0])));
    Ok(())
}

/// What is timed, the plain answer first.
fn runs(new: usize) -> Vec<(&'static str, Options<'static>)> {
    let plain = Options { max_new_tokens: new, top_logprobs: 5, ..Options::default() };
    let seen = |observe| Options { observe, ..plain.clone() };
    let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
    let drawn = |samples, observe| Options { samples, sampling: sampling.clone(), greedy_first: samples > 10, ..seen(observe) };
    let attention = Observe { attention: true, ..Observe::default() };
    let all = Observe { attention: true, hidden_layers: vec![12], distribution: true };
    vec![
        ("one answer", plain.clone()),
        ("one answer, attention", seen(attention)),
        ("one answer, attention, states of a layer, divergences", seen(all.clone())),
        ("one answer, drawn", drawn(1, Observe::default())),
        ("ten samples", drawn(10, Observe::default())),
        ("an answer and ten samples, everything observed", drawn(11, all)),
    ]
}

fn timed(model: &Model, prompt: usize, options: &Options) -> Result<f64> {
    let ids: Vec<i64> = (0..prompt as i64).map(|place| 1000 + 37 * place % 90_000).collect();
    let start = Instant::now();
    std::hint::black_box(generate(model, &[ids], options)?);
    Ok(start.elapsed().as_secs_f64())
}

fn row(name: &str, times: &[f64], plain: &[f64]) -> String {
    let relative = median(times.iter().zip(plain).map(|(time, plain)| time / plain).collect());
    let fastest = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let (time, best) = (median(times.to_vec()), fastest(times) / fastest(plain));
    format!("{name:56} {time:7.2} s  {relative:6.3} x  fastest {:7.2} s  {best:6.3} x", fastest(times))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The load average of the last minute, which says how far the figures can be believed.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn show(line: String) {
    println!("{line}");
}
