//! The safe side of `torch-ext`: what Coppice needs of libtorch and tch does not bind.
//!
//! [`linear`] is what the model calls for every projection, [`grouped_linear`] for the experts. Decoding reads each weight once for
//! a handful of rows, so its time is that of reading memory; libtorch's bf16 product reaches about a third of that speed. On two
//! cores of Zen 4 the kernels of `torch-ext/linear_*.cpp` reach 87 to 95 % of it for one row and 63 to 75 % for ten, where
//! arithmetic begins to count (`cargo run --release -p coppice-models --example linear`). They sum in f32 and round once, and an
//! element's value does not depend on the number of rows or of threads.
//!
//! A C++ exception never crosses the border: it comes back as [`TchError::Torch`], as tch's own do.

#[cfg(coppice_c10d)]
pub mod c10d;
#[cfg(not(coppice_c10d))]
#[path = "ext/c10d_off.rs"]
pub mod c10d;
pub mod fused;
pub mod tally;
pub mod training;

use std::ffi::{CStr, c_char, c_int};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

/// Result with tch's error, which crates that use tch know how to convert.
pub type Result<T> = std::result::Result<T, TchError>;

/// Bytes kept for the message of an exception.
pub(crate) const MESSAGE: usize = 1024;

// SAFETY: the signatures are those of the functions of `torch-ext/ext.cpp`; a `C_tensor` is an `at::Tensor`.
unsafe extern "C" {
    safe fn coppice_linear_path() -> c_int;
    fn coppice_linear_fits(x: *const C_tensor, w: *const C_tensor, bias: *const C_tensor) -> c_int;
    fn coppice_linear(
        x: *const C_tensor,
        w: *const C_tensor,
        bias: *const C_tensor,
        path: c_int,
        error: *mut c_char,
        size: usize,
    ) -> *mut C_tensor;
    fn coppice_grouped_linear(
        x: *const C_tensor,
        w: *const C_tensor,
        ends: *const C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> *mut C_tensor;
    fn coppice_read(from: *const u64, bytes: i64) -> u64;
    fn coppice_cuda_devices(error: *mut c_char, size: usize) -> c_int;
    safe fn coppice_torch_version() -> *const c_char;
    safe fn coppice_cxx11_abi() -> c_int;
    safe fn coppice_torch_capability() -> *const c_char;
}

/// The instructions a kernel of [`linear_bf16_small`] is written with, narrowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Plain loops, for any processor.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512F, where there are no bf16 instructions.
    Avx512,
    /// AVX512-BF16.
    Avx512Bf16,
}

impl Path {
    /// All of them, narrowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// The widest this processor runs.
    pub fn best() -> Self {
        let number = coppice_linear_path();
        Self::ALL.into_iter().find(|&path| path as c_int == number).unwrap_or(Self::Portable)
    }

    /// The name used in reports: `portable`, `avx2`, `avx512` or `avx512_bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512_bf16",
        }
    }
}

/// `x wᵀ + bias` by the fastest way there is: the kernel of [`Path::best`] on the CPU in bf16 for up to 32 rows of `x` where no
/// gradient is wanted, libtorch's `linear` everywhere else.
///
/// Shapes: `x [.., K]`, `w [N, K]`, `bias [N]`; the result is `[.., N]`.
///
/// # Errors
/// Shapes that do not fit, or whatever else libtorch refuses.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    // SAFETY: all three point to live tensors, or are null where the function allows it.
    let fits = unsafe { coppice_linear_fits(x.as_ptr(), w.as_ptr(), pointer(bias)) } == 1;
    if fits { linear_bf16_small(&x.f_contiguous()?, w, bias, Path::best()) } else { x.f_linear(w, bias) }
}

/// `x wᵀ + bias` in bf16 by the kernel of `path`: sums in f32, one rounding at the end. For few rows of `x`; right for any
/// number. It records no gradient.
///
/// Shapes: `x [.., K]`, `w [N, K]`, `bias [N]`, contiguous, on the CPU; the result is `[.., N]`.
///
/// # Errors
/// Another type, device, shape or layout, or a processor that does not run `path`.
pub fn linear_bf16_small(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, path: Path) -> Result<Tensor> {
    let bias = pointer(bias);
    let mut message = [0; MESSAGE];
    // SAFETY: the tensors live through the call, `bias` may be null, and the message's length is its own.
    let y = unsafe { coppice_linear(x.as_ptr(), w.as_ptr(), bias, path as c_int, message.as_mut_ptr(), MESSAGE) };
    if y.is_null() {
        return Err(exception(&message));
    }
    // SAFETY: the function returns a tensor made by `new`, which nobody else owns.
    Ok(unsafe { Tensor::from_ptr(y) })
}

/// The product of each expert with its own rows, `y[i] = x[i] w[e]ᵀ` for `ends[e - 1] ≤ i < ends[e]`: by the kernels of [`linear`]
/// where they fit and no expert has more than 32 rows (decoding), by libtorch's `_grouped_mm` everywhere else.
///
/// Shapes: `x [A, K]`, its rows sorted by expert, `w [E, N, K]`, `ends [E]` of `i32`, ascending to at most `A`; the result is
/// `[A, N]`. Rows past the last end mean nothing.
///
/// # Errors
/// Ends that do not ascend within `x`, or what libtorch refuses: its product wants strides of a multiple of 16 bytes.
pub fn grouped_linear(x: &Tensor, w: &Tensor, ends: &Tensor) -> Result<Tensor> {
    let mut message = [0; MESSAGE];
    // SAFETY: the tensors live through the call, and the message's length is its own.
    let y = unsafe { coppice_grouped_linear(x.as_ptr(), w.as_ptr(), ends.as_ptr(), message.as_mut_ptr(), MESSAGE) };
    if !y.is_null() {
        // SAFETY: the function returns a tensor made by `new`, which nobody else owns.
        return Ok(unsafe { Tensor::from_ptr(y) });
    }
    if message[0] != 0 {
        return Err(exception(&message));
    }
    x.f_internal_grouped_mm(&w.f_transpose(1, 2)?, Some(ends), None, None)
}

/// Reads `words` from memory once, on all of libtorch's intra-op threads, and returns their wrapping sum. What is left over
/// of a whole line of 64 bytes is not read.
pub fn read(words: &[u64]) -> u64 {
    let bytes = size_of_val(words) / 64 * 64;
    // SAFETY: the function reads `bytes` bytes from the start of the slice, which has at least as many; a slice is never
    // longer than i64::MAX bytes.
    unsafe { coppice_read(words.as_ptr(), bytes as i64) }
}

/// The number of GPUs libtorch sees. It remembers its first answer for the rest of the process: [`crate::device`] asks, after
/// it has loaded the CUDA library.
///
/// # Errors
/// libtorch could not ask the driver.
pub(crate) fn cuda_devices() -> Result<usize> {
    let mut message = [0; MESSAGE];
    // SAFETY: the message's length is its own.
    let count = unsafe { coppice_cuda_devices(message.as_mut_ptr(), MESSAGE) };
    usize::try_from(count).map_err(|_| exception(&message))
}

/// The libtorch this crate was compiled against, as `2.11.0`.
pub fn torch_version() -> String {
    text(coppice_torch_version())
}

/// Whether it was compiled for the C++11 ABI of the standard library.
pub fn cxx11_abi() -> bool {
    coppice_cxx11_abi() != 0
}

/// The instruction set libtorch's own kernels chose, as `AVX512`.
pub fn torch_capability() -> String {
    text(coppice_torch_capability())
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

fn text(string: *const c_char) -> String {
    // SAFETY: the functions it is called on return strings that end in a zero and live as long as the process.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// The text before the first zero of a message written by `guarded` of `torch-ext/guarded.h`.
pub(crate) fn exception(message: &[c_char]) -> TchError {
    let bytes: Vec<u8> = message.iter().map(|&c| c.cast_unsigned()).take_while(|&b| b != 0).collect();
    TchError::Torch(String::from_utf8_lossy(&bytes).into_owned())
}
