//! The two rates that bound a model on this CPU: reading memory (decoding) and multiplying matrices (prefill, training).

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, ext};

/// Read for the bandwidth: many times what caches hold.
const BUFFER_BYTES: u64 = 512 << 20;
/// The same on a GPU.
const GPU_BUFFER_BYTES: i64 = 4 << 30;

/// Rows and columns of the matrices multiplied.
const SIZE: i64 = 1024;
/// The same on a GPU.
const GPU_SIZE: i64 = 8192;

/// Repeats of each measurement, as long as they fit into [`BUDGET`].
const REPEATS: usize = 9;

/// Time for the repeats of one measurement; at least one is made.
const BUDGET: Duration = Duration::from_millis(400);

/// Measured rates of the CPU, each the median of its repeats on all of libtorch's intra-op threads.
#[derive(Debug, Clone, Serialize)]
pub struct Speed {
    /// How the bandwidth was measured.
    pub memory_method: String,
    /// Bytes read from memory a second, in 10⁹.
    pub memory_read_gb_per_s: f64,
    /// How the matrix rates were measured.
    pub matmul_method: String,
    /// f32 operations of a matrix product a second, in 10⁹ (a multiplication and an addition are two).
    pub matmul_f32_gflop_per_s: f64,
    /// The same in bf16.
    pub matmul_bf16_gflop_per_s: f64,
}

impl Speed {
    /// Measures all three in one to two seconds. The buffer read is [`BUFFER_BYTES`], or an eighth of the available memory
    /// where that is less.
    ///
    /// # Errors
    /// Memory is lacking, or libtorch refuses to multiply.
    pub(super) fn measure(available_bytes: Option<u64>) -> Result<Self> {
        let bytes = available_bytes.map_or(BUFFER_BYTES, |available| BUFFER_BYTES.min(available / 8));
        Ok(Self {
            memory_method: format!("one read of {} MiB, median of at most {REPEATS}", bytes >> 20),
            memory_read_gb_per_s: memory_read(bytes)?,
            matmul_method: format!("{SIZE} x {SIZE} x {SIZE}, median of at most {REPEATS}"),
            matmul_f32_gflop_per_s: matmul(Kind::Float, Device::Cpu)? / 1e9,
            matmul_bf16_gflop_per_s: matmul(Kind::BFloat16, Device::Cpu)? / 1e9,
        })
    }
}

/// Bytes a second that `device` reads from its memory, in 10⁹: of a CPU as `doctor` measures it, of a GPU by a sum of as many bytes as keep
/// it busy.
///
/// # Errors
/// Memory is lacking.
pub fn bandwidth(device: Device, available_bytes: Option<u64>) -> Result<f64> {
    let bytes = available_bytes.map_or(BUFFER_BYTES, |available| BUFFER_BYTES.min(available / 8));
    if !device.is_cuda() {
        return memory_read(bytes);
    }
    let buffer = Tensor::f_ones([GPU_BUFFER_BYTES / 4], (Kind::Float, device))?;
    let seconds = median_seconds(|| buffer.f_sum(Kind::Float)?.f_double_value(&[]).map(drop).map_err(Error::from))?;
    Ok(GPU_BUFFER_BYTES as f64 / seconds / 1e9)
}

/// Bytes read a second, in 10⁹, from a buffer of `bytes`.
fn memory_read(bytes: u64) -> Result<f64> {
    let words = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
    let mut buffer: Vec<u64> = Vec::new();
    buffer.try_reserve_exact(words).map_err(|error| Error::Input(format!("no memory to measure its bandwidth: {error}")))?;
    // Pages that hold nothing but zeros may share one page of memory.
    buffer.resize(words, 1);
    let seconds = median_seconds(|| {
        std::hint::black_box(ext::read(&buffer));
        Ok(())
    })?;
    Ok(size_of_val(buffer.as_slice()) as f64 / seconds / 1e9)
}

/// Floating-point operations a second of a square matrix product of `kind` by libtorch on `device` (a multiplication and an addition are
/// two): of 1,024 rows on a CPU, of 8,192 on a GPU, which needs more to be busy. The median of some repeats.
///
/// # Errors
/// Memory is lacking, or libtorch refuses to multiply.
pub fn matmul(kind: Kind, device: Device) -> Result<f64> {
    let size = if device.is_cuda() { GPU_SIZE } else { SIZE };
    let [a, b] = [Tensor::f_full([size, size], 0.5, (kind, device))?, Tensor::f_full([size, size], 0.25, (kind, device))?];
    let seconds = median_seconds(|| {
        let product = a.f_matmul(&b)?;
        // Asking for a value waits for the GPU.
        if device.is_cuda() { product.f_double_value(&[0, 0]).map(drop).map_err(Error::from) } else { Ok(()) }
    })?;
    Ok(2.0 * (size as f64).powi(3) / seconds)
}

/// The median time of `work`, after a first run that is not counted.
fn median_seconds(work: impl Fn() -> Result<()>) -> Result<f64> {
    work()?;
    let start = Instant::now();
    let mut seconds = Vec::with_capacity(REPEATS);
    while seconds.is_empty() || (seconds.len() < REPEATS && start.elapsed() < BUDGET) {
        let begin = Instant::now();
        work()?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2].max(f64::MIN_POSITIVE))
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "reading    {:.1} GB/s ({})", self.memory_read_gb_per_s, self.memory_method)?;
        let (wide, narrow) = (self.matmul_f32_gflop_per_s, self.matmul_bf16_gflop_per_s);
        writeln!(f, "matmul     f32 {wide:.0}, bf16 {narrow:.0} GFLOP/s ({})", self.matmul_method)
    }
}
