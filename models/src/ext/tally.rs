//! A tally of executed work: which matrix products ran, and what memory of chosen tensors they read. The safe side of
//! `torch-ext/tally.cpp`.
//!
//! Formulas say what a model asks for; this says what ran, seen from under the model: libtorch's dispatcher tells of its operators, the
//! kernels of this crate of themselves. Nothing is counted, and nothing slower, outside of [`tally`].

use std::ffi::{c_char, c_int};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::{MESSAGE, exception};

// SAFETY: the signatures are those of the functions of `torch-ext/tally.cpp`; a `C_tensor` is an `at::Tensor`.
unsafe extern "C" {
    fn coppice_tally_begin(tensors: *const *const C_tensor, count: i64, error: *mut c_char, size: usize) -> c_int;
    fn coppice_tally_end(totals: *mut i64, operations: *mut i64, bytes: *mut i64, error: *mut c_char, size: usize) -> c_int;
}

/// What was executed. A multiplication and an addition are two operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Matrix products, those of fused attention apart: two forward, five backward.
    pub products: u64,
    /// Operations of batched products and fused attention. Causal attention counts the pairs of a query and a key it sees.
    pub batched: u64,
    /// Operations of other products of which no watched tensor is a factor.
    pub other: u64,
    /// What became of each watched tensor, in their order.
    pub watched: Vec<Watched>,
}

/// What became of one watched tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Operations of products that it, or a part of it, is a factor of.
    pub operations: u64,
    /// Bytes of it that operators were handed to read, each counted once however often it was read.
    pub bytes: u64,
}

impl Tally {
    /// Operations of all products.
    pub fn operations(&self) -> u64 {
        self.batched + self.other + self.watched.iter().map(|watched| watched.operations).sum::<u64>()
    }

    /// Bytes read of all watched tensors.
    pub fn bytes(&self) -> u64 {
        self.watched.iter().map(|watched| watched.bytes).sum()
    }
}

/// Runs `work` and tells what this thread executed, and what libtorch's own threads did for its gradients. Tensors that share memory are
/// watched as the first of them. One tally is taken at a time in a process.
///
/// # Errors
/// When a watched tensor has gaps in its memory, a tally is being taken already, or `work` fails.
pub fn tally<T, E: From<TchError>>(watched: &[&Tensor], work: impl FnOnce() -> Result<T, E>) -> Result<(T, Tally), E> {
    let taking = Taking::begin(watched)?;
    let found = work()?;
    Ok((found, taking.end()?))
}

/// A tally being taken; it ends when dropped.
struct Taking {
    watched: usize,
    ended: bool,
}

impl Taking {
    fn begin(watched: &[&Tensor]) -> super::Result<Self> {
        let pointers: Vec<_> = watched.iter().map(|tensor| tensor.as_ptr()).collect();
        let mut message = [0; MESSAGE];
        // SAFETY: the tensors live through the call, which keeps addresses alone, and the message's length is its own.
        let begun = unsafe { coppice_tally_begin(pointers.as_ptr(), pointers.len() as i64, message.as_mut_ptr(), MESSAGE) };
        if begun == 0 { Ok(Self { watched: watched.len(), ended: false }) } else { Err(exception(&message)) }
    }

    fn end(mut self) -> super::Result<Tally> {
        self.close()
    }

    fn close(&mut self) -> super::Result<Tally> {
        self.ended = true;
        let (mut totals, mut operations, mut bytes) = ([0_i64; 3], vec![0_i64; self.watched], vec![0_i64; self.watched]);
        let mut message = [0; MESSAGE];
        let [all, each, read] = [totals.as_mut_ptr(), operations.as_mut_ptr(), bytes.as_mut_ptr()];
        // SAFETY: the lists have room for three values and for one a watched tensor; the message's length is its own.
        if unsafe { coppice_tally_end(all, each, read, message.as_mut_ptr(), MESSAGE) } != 0 {
            return Err(exception(&message));
        }
        let each = operations.into_iter().zip(bytes);
        let watched = each.map(|(operations, bytes)| Watched { operations: operations.cast_unsigned(), bytes: bytes.cast_unsigned() });
        let [products, batched, other] = totals.map(i64::cast_unsigned);
        Ok(Tally { products, batched, other, watched: watched.collect() })
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// One tally at a time: the tests share the process.
    #[test]
    fn products_and_reads_are_those_by_hand() {
        let (x, w, table) = (Tensor::ones([3, 8], CPU), Tensor::ones([5, 8], CPU), Tensor::ones([100, 4], CPU));
        let rows = Tensor::from_slice(&[7_i64, 7, 9]);
        let work = || -> super::super::Result<()> {
            let _ = x.f_linear(&w, None::<&Tensor>)?;
            let _ = x.f_unsqueeze(0)?.f_bmm(&w.f_transpose(0, 1)?.f_unsqueeze(0)?)?;
            let _ = Tensor::f_embedding(&table, &rows, -1, false, false)?;
            Ok(())
        };
        let found = tally(&[&w, &table], work).unwrap().1;
        assert_eq!((found.products, found.batched, found.other), (2, 240, 0));
        assert_eq!(found.watched, [Watched { operations: 240, bytes: 160 }, Watched { operations: 0, bytes: 32 }]);
        parts_are_joined(&w);
        attention_is_causal();
        assert!(tally(&[&w.narrow(1, 0, 2)], || super::super::Result::Ok(())).is_err());
        assert!(tally(&[], || tally(&[], || super::super::Result::Ok(()))).is_err());
        assert_eq!(tally(&[&w], || super::super::Result::Ok(())).unwrap().1.bytes(), 0);
    }

    /// Columns 0 to 4 and 3 to 7 of five rows of 8.
    fn parts_are_joined(w: &Tensor) {
        let read = || -> super::super::Result<()> {
            let _ = w.f_narrow(1, 0, 4)?.f_exp()?;
            let _ = w.f_narrow(1, 3, 4)?.f_exp()?;
            Ok(())
        };
        assert_eq!(tally(&[w], read).unwrap().1.bytes(), 5 * 7 * 4);
    }

    /// Six pairs instead of nine, two products of 2 heads of 8.
    fn attention_is_causal() {
        let q = Tensor::ones([1, 2, 3, 8], CPU);
        let run = |causal| tally(&[], || Tensor::f_scaled_dot_product_attention(&q, &q, &q, None::<&Tensor>, 0.0, causal, None, false));
        assert_eq!([true, false].map(|causal| run(causal).unwrap().1.batched), [2 * 2 * 2 * 8 * 6, 2 * 2 * 2 * 8 * 9]);
    }
}
