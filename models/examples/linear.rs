//! How near the small-batch bf16 product comes to its limit: each weight read from memory once.
//!
//! `cargo run --release -p coppice-models --example linear [ROWS…]` reads first the speed of memory itself, then, for the shapes of
//! StableLM 2 1.6B and each number of rows, the speed of our kernel and of libtorch's `linear`, in GB of weights per second.
//! More than 1 GB of weights is cycled through, so that no cache holds them. Each product is timed by itself, over five passes
//! taken in turns, and the figure is that of the fastest tenth: what the machine does when nothing else disturbs it.

use std::error::Error;
use std::time::Instant;

use coppice_models::ext::{self, Path};
use tch::{Device, Kind, Tensor};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `[N, K]`: gate and up, down, the attention's projections, the head.
const SHAPES: [(i64, i64); 4] = [(5632, 2048), (2048, 5632), (2048, 2048), (100_352, 2048)];

const BYTES: i64 = 1_200_000_000;
const PASSES: usize = 5;

fn main() -> Result<()> {
    let rows: Vec<i64> = std::env::args().skip(1).map(|rows| rows.parse()).collect::<std::result::Result<_, _>>()?;
    let rows = if rows.is_empty() { vec![1, 2, 4, 10, 16, 32] } else { rows };
    let threads = tch::get_num_threads();
    show(format!("kernel {}, {threads} threads, load {}", Path::best().name(), load()));
    show("      N      K  rows   memory    ours  (of memory)   libtorch".to_owned());
    for (n, k) in SHAPES {
        for &m in &rows {
            shape(m, n, k)?;
        }
    }
    Ok(())
}

/// Measures one shape: memory, our kernel and libtorch's, by turns.
fn shape(m: i64, n: i64, k: i64) -> Result<()> {
    let options = (Kind::BFloat16, Device::Cpu);
    let count = BYTES / (2 * n * k) + 1;
    let weights = (0..count).map(|_| Tensor::f_full([n, k], 0.01, options)).collect::<std::result::Result<Vec<_>, _>>()?;
    let words = vec![1u64; usize::try_from(count * n * k / 4)?];
    let x = Tensor::f_ones([m, k], options)?;
    let (mut memory, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PASSES {
        for part in words.chunks_exact(usize::try_from(n * k / 4)?) {
            memory.push(seconds(|| Ok(ext::read(part)))?);
        }
        for w in &weights {
            ours.push(seconds(|| ext::linear_bf16_small(&x, w, None, Path::best()))?);
        }
        for w in &weights {
            theirs.push(seconds(|| x.f_linear::<Tensor>(w, None))?);
        }
    }
    let [memory, ours, theirs] = [memory, ours, theirs].map(|times| 2e-9 * (n * k) as f64 / tenth(times));
    show(format!("{n:7} {k:6} {m:5} {memory:8.1} {ours:7.1} {:9.0} % {theirs:12.1}", 100.0 * ours / memory));
    Ok(())
}

/// The time that a tenth of all measured times undercut.
fn tenth(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

fn seconds<T>(work: impl FnOnce() -> ext::Result<T>) -> Result<f64> {
    let start = Instant::now();
    std::hint::black_box(work()?);
    Ok(start.elapsed().as_secs_f64())
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
