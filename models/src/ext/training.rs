//! Gradients through part of a graph, whole lists of tensors at once, the fused AdamW, and a GPU's memory: the safe side of
//! `torch-ext/training.cpp`.

use std::ffi::{c_char, c_int};
use std::ptr::null;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::{MESSAGE, Result, exception};

type Pointers = *const *const C_tensor;

/// The scalars of one update, laid out as `CoppiceAdamW`.
#[repr(C)]
struct Rule {
    rate: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    step: *const C_tensor,
    grad_scale: *const C_tensor,
    found_inf: *const C_tensor,
}

// SAFETY: the signatures are those of the functions of `torch-ext/training.cpp`; a `C_tensor` is an `at::Tensor`.
unsafe extern "C" {
    fn coppice_backward(
        outputs: Pointers,
        pulls: Pointers,
        n_outputs: i64,
        inputs: Pointers,
        n_inputs: i64,
        gradients: *mut *mut C_tensor,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn coppice_fused_norms(tensors: Pointers, count: i64, error: *mut c_char, size: usize) -> *mut C_tensor;
    fn coppice_norms(tensors: Pointers, count: i64, error: *mut c_char, size: usize) -> *mut C_tensor;
    fn coppice_adamw(
        parameters: Pointers,
        gradients: Pointers,
        means: Pointers,
        squares: Pointers,
        count: i64,
        rule: *const Rule,
        error: *mut c_char,
        size: usize,
    ) -> c_int;
    fn coppice_keep_freed_tensors(error: *mut c_char, size: usize) -> c_int;
    fn coppice_cuda_memory(index: c_int, now: *mut i64, peak: *mut i64, error: *mut c_char, size: usize) -> c_int;
}

/// One output of a graph and the gradient that flows back into it.
#[derive(Debug, Clone, Copy)]
pub struct Pull<'a> {
    /// The output.
    pub output: &'a Tensor,
    /// Gradient at the output, of its shape; none = 1, for scalars.
    pub gradient: Option<&'a Tensor>,
}

/// Gradients at `inputs`; none where an input took no part. The graph is freed.
///
/// # Errors
/// When an output has no graph or shapes differ.
pub fn backward(pulls: &[Pull], inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    let outputs: Vec<_> = pulls.iter().map(|pull| pull.output.as_ptr()).collect();
    let flows: Vec<_> = pulls.iter().map(|pull| pull.gradient.map_or(null(), |tensor| tensor.as_ptr())).collect();
    let at = pointers(inputs);
    let mut found = vec![std::ptr::null_mut(); inputs.len()];
    let mut message = [0; MESSAGE];
    // SAFETY: all lists have the lengths given, their tensors live through the call, and `found` has room for every gradient.
    let code = unsafe {
        let (n_outputs, n_inputs) = (outputs.len() as i64, at.len() as i64);
        let (outputs, flows, at) = (outputs.as_ptr(), flows.as_ptr(), at.as_ptr());
        coppice_backward(outputs, flows, n_outputs, at, n_inputs, found.as_mut_ptr(), message.as_mut_ptr(), MESSAGE)
    };
    done(code, &message)?;
    // SAFETY: every pointer is null or a tensor made by `new`, which nobody else owns.
    Ok(found.into_iter().map(|pointer| (!pointer.is_null()).then(|| unsafe { Tensor::from_ptr(pointer) })).collect())
}

/// The L2 norm of each tensor, `[tensors.len()]`, f32; all on one device, at least one.
///
/// # Errors
/// When the list is empty or the devices differ.
pub fn norms(tensors: &[&Tensor]) -> Result<Tensor> {
    let mut message = [0; MESSAGE];
    // SAFETY: as below.
    let fused = unsafe { coppice_fused_norms(pointers(tensors).as_ptr(), tensors.len() as i64, message.as_mut_ptr(), MESSAGE) };
    if !fused.is_null() {
        // SAFETY: the function returns a tensor made by `new`, which nobody else owns.
        return Ok(unsafe { Tensor::from_ptr(fused) });
    }
    // SAFETY: the list has the length given and its tensors live through the call.
    let norms = unsafe { coppice_norms(pointers(tensors).as_ptr(), tensors.len() as i64, message.as_mut_ptr(), MESSAGE) };
    if norms.is_null() {
        return Err(exception(&message));
    }
    // SAFETY: the function returns a tensor made by `new`, which nobody else owns.
    Ok(unsafe { Tensor::from_ptr(norms) })
}

/// One update of AdamW (arXiv 1711.05101) with the arithmetic of `torch.optim.AdamW(fused=True)`: each pass reads and writes every
/// tensor once.
#[derive(Debug, Clone, Copy)]
pub struct AdamWUpdate<'a> {
    /// Learning rate.
    pub rate: f64,
    /// Decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, per unit of learning rate.
    pub weight_decay: f64,
    /// The number of this update, counted from 1: a scalar tensor, f32.
    pub step: &'a Tensor,
    /// Gradients are divided by this scalar tensor, f32, and left so.
    pub grad_scale: Option<&'a Tensor>,
    /// The update is left out where this scalar tensor, f32, is 1.
    pub found_inf: Option<&'a Tensor>,
}

/// Parameters with their gradients and moments, in the same order; a parameter and what belongs to it are of one type.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// Parameters, changed in place.
    pub parameters: &'a [&'a Tensor],
    /// Gradients.
    pub gradients: &'a [&'a Tensor],
    /// First moments, changed in place.
    pub means: &'a [&'a Tensor],
    /// Second moments, changed in place.
    pub squares: &'a [&'a Tensor],
}

impl AdamWUpdate<'_> {
    /// Updates the slots in place.
    ///
    /// # Errors
    /// When the lists differ in length, or the tensors of a slot in shape, type or device.
    pub fn apply(&self, slots: Slots) -> Result<()> {
        let lists = [slots.parameters, slots.gradients, slots.means, slots.squares];
        if lists.iter().any(|list| list.len() != slots.parameters.len()) {
            return Err(TchError::Torch(format!("AdamW: lists of {:?} tensors, expected one length", lists.map(<[_]>::len))));
        }
        let [p, g, m, v] = lists.map(pointers);
        let pointer = |tensor: Option<&Tensor>| tensor.map_or(null(), |tensor| tensor.as_ptr());
        let rule = Rule {
            rate: self.rate,
            beta1: self.betas[0],
            beta2: self.betas[1],
            eps: self.eps,
            weight_decay: self.weight_decay,
            step: self.step.as_ptr(),
            grad_scale: pointer(self.grad_scale),
            found_inf: pointer(self.found_inf),
        };
        let mut message = [0; MESSAGE];
        // SAFETY: all lists have the length given, and every tensor lives through the call.
        let code = unsafe {
            coppice_adamw(p.as_ptr(), g.as_ptr(), m.as_ptr(), v.as_ptr(), p.len() as i64, &raw const rule, message.as_mut_ptr(), MESSAGE)
        };
        done(code, &message)
    }
}

/// Lets CPU tensors made from now on come from a pool of freed ones ([`crate::allocator`]).
///
/// # Errors
/// When libtorch refuses.
pub(crate) fn keep_freed_tensors() -> Result<()> {
    let mut message = [0; MESSAGE];
    // SAFETY: the message's length is its own.
    done(unsafe { coppice_keep_freed_tensors(message.as_mut_ptr(), MESSAGE) }, &message)
}

/// Memory of a GPU that tensors take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// Bytes now.
    pub now: u64,
    /// Most bytes at any time of this process.
    pub peak: u64,
}

/// Memory that this process's tensors take on GPU `index`.
///
/// # Errors
/// When there is no such GPU.
pub fn gpu_memory(index: usize) -> Result<GpuMemory> {
    let (mut now, mut peak, mut message) = (0, 0, [0; MESSAGE]);
    let index = c_int::try_from(index).map_err(|_| TchError::Torch(format!("there is no GPU {index}")))?;
    // SAFETY: both numbers and the message live through the call.
    done(unsafe { coppice_cuda_memory(index, &raw mut now, &raw mut peak, message.as_mut_ptr(), MESSAGE) }, &message)?;
    Ok(GpuMemory { now: now.max(0).cast_unsigned(), peak: peak.max(0).cast_unsigned() })
}

fn pointers(tensors: &[&Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr()).collect()
}

fn done(code: c_int, message: &[c_char]) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(exception(message)) }
}
