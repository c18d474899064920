//! Elementwise work in one pass over memory, and routed experts whose products write where their results belong: the safe side of
//! `torch-ext/fused.cpp`. On the CPU, in bf16 and f32; elsewhere the same operations by libtorch.

use std::ffi::{c_char, c_int};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use super::{MESSAGE, Result, exception, grouped_linear};

// SAFETY: the signatures are those of the functions of `torch-ext/fused.cpp`; a `C_tensor` is an `at::Tensor`.
unsafe extern "C" {
    fn coppice_fused_fits(x: *const C_tensor) -> c_int;
    fn coppice_experts_fit(x: *const C_tensor, w: *const C_tensor) -> c_int;
    fn coppice_swiglu(gate: *const C_tensor, up: *const C_tensor, error: *mut c_char, size: usize) -> *mut C_tensor;
    fn coppice_experts(
        rows: *const C_tensor,
        gate: *const C_tensor,
        up: *const C_tensor,
        down: *const C_tensor,
        ends: *const C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> *mut C_tensor;
    fn coppice_cross_entropy(logits: *mut C_tensor, targets: *const C_tensor, scale: f64, error: *mut c_char, size: usize)
    -> *mut C_tensor;
}

/// Whether the kernels compute with tensors like `x`: bf16 or f32 on the CPU.
pub fn fits(x: &Tensor) -> bool {
    // SAFETY: the tensor lives through the call.
    unsafe { coppice_fused_fits(x.as_ptr()) == 1 }
}

/// `silu(gate) * up`, with gradients (SwiGLU, arXiv 2002.05202), rounded once: tensors of one shape.
///
/// # Errors
/// When shapes or types differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !fits(gate) {
        return gate.f_silu()?.f_mul(up);
    }
    // SAFETY: both tensors live through the call.
    owned(|message| unsafe { coppice_swiglu(gate.as_ptr(), up.as_ptr(), message, MESSAGE) })
}

/// The gated MLPs of `N` experts.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    /// `[N, F, D]`.
    pub gate: &'a Tensor,
    /// `[N, F, D]`.
    pub up: &'a Tensor,
    /// `[N, D, F]`.
    pub down: &'a Tensor,
}

impl Experts<'_> {
    /// `rows [A, D]`, sorted by expert, each through its own, `[A, D]`, with gradients; expert `e` has the rows from `ends[e - 1]` to before
    /// `ends[e]` (`ends [N]`, i32). On the CPU and where gradients are wanted, `silu(gate) * up` is not kept but computed again.
    ///
    /// # Errors
    /// When the shapes do not match, or the ends do not ascend to `A`.
    pub fn forward(&self, rows: &Tensor, ends: &Tensor) -> Result<Tensor> {
        // SAFETY: both tensors live through the call.
        if unsafe { coppice_experts_fit(rows.as_ptr(), self.gate.as_ptr()) } == 1 {
            let Self { gate, up, down } = self;
            let [rows, gate, up, down, ends] = [rows, gate, up, down, ends].map(Tensor::as_ptr);
            // SAFETY: all tensors live through the call.
            return owned(|message| unsafe { coppice_experts(rows, gate, up, down, ends, message, MESSAGE) });
        }
        let inner = swiglu(&grouped_linear(rows, self.gate, ends)?, &grouped_linear(rows, self.up, ends)?)?; // [A, F]
        grouped_linear(&inner, self.down, ends)
    }
}

/// Cross entropy of each row of `logits [T, V]` against `targets [T]` (i64), `[T]`, nats, f32. The logits become the gradient of `scale`
/// times their sum: no other tensor of their size is made.
///
/// # Errors
/// When the shapes do not match or, on the CPU, a target is outside the vocabulary.
pub fn cross_entropy_(logits: &mut Tensor, targets: &Tensor, scale: f64) -> Result<Tensor> {
    if fits(logits) {
        // SAFETY: both tensors live through the call.
        return owned(|message| unsafe { coppice_cross_entropy(logits.as_mut_ptr(), targets.as_ptr(), scale, message, MESSAGE) });
    }
    let targets = targets.f_unsqueeze(1)?;
    let mut log_p = logits.f_log_softmax(-1, Kind::Float)?; // [T, V]
    let losses = log_p.f_gather(1, &targets, false)?.f_neg()?.f_squeeze_dim(1)?;
    let mut gradient = log_p.f_exp_()?;
    let _ = gradient.f_scatter_add_(1, &targets, &targets.f_full_like(-1.0)?.f_to_kind(Kind::Float)?)?;
    logits.f_copy_(&gradient.f_mul_scalar_(scale)?)?;
    Ok(losses)
}

/// The new tensor that `call` returns, or its message.
fn owned(call: impl FnOnce(*mut c_char) -> *mut C_tensor) -> Result<Tensor> {
    let mut message = [0; MESSAGE];
    let found = call(message.as_mut_ptr());
    // SAFETY: every function above returns null or a tensor made by `new`, which nobody else owns.
    if found.is_null() { Err(exception(&message)) } else { Ok(unsafe { Tensor::from_ptr(found) }) }
}
