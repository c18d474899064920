//! torch.distributed's engine c10d: the safe side of `torch-ext/c10d.cpp`, compiled where the build finds Gloo's headers.

use std::ffi::{CString, c_char, c_int};
use std::path::Path;
use std::ptr::null;
use std::time::Duration;

use libloading::Library;
use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::{MESSAGE, Result, exception};

#[repr(C)]
struct RawStore([u8; 0]);
#[repr(C)]
struct RawGroup([u8; 0]);
#[repr(C)]
struct RawWork([u8; 0]);

// SAFETY: the signatures are those of the functions of `torch-ext/c10d.cpp`; a `C_tensor` is an `at::Tensor`.
unsafe extern "C" {
    fn coppice_store(
        host: *const c_char,
        port: c_int,
        size: c_int,
        serves: c_int,
        timeout_ms: i64,
        error: *mut c_char,
        length: usize,
    ) -> *mut RawStore;
    fn coppice_store_free(store: *mut RawStore);
    fn coppice_gloo(
        store: *const RawStore,
        name: *const c_char,
        interface: *const c_char,
        address: *const c_char,
        rank: c_int,
        size: c_int,
        timeout_ms: i64,
        error: *mut c_char,
        length: usize,
    ) -> *mut RawGroup;
    fn coppice_group_free(group: *mut RawGroup);
    fn coppice_all_reduce(group: *const RawGroup, tensor: *const C_tensor, error: *mut c_char, length: usize) -> *mut RawWork;
    fn coppice_broadcast(group: *const RawGroup, tensor: *const C_tensor, root: c_int, error: *mut c_char, length: usize) -> *mut RawWork;
    fn coppice_all_gather(
        group: *const RawGroup,
        all: *const C_tensor,
        part: *const C_tensor,
        error: *mut c_char,
        length: usize,
    ) -> *mut RawWork;
    fn coppice_work_wait(work: *const RawWork, error: *mut c_char, length: usize) -> c_int;
    fn coppice_work_free(work: *mut RawWork);
    fn coppice_exchange(
        group: *const RawGroup,
        x: *const C_tensor,
        send: *const i64,
        receive: *const i64,
        size: c_int,
        error: *mut c_char,
        length: usize,
    ) -> *mut C_tensor;
}

/// `coppice_nccl` of `torch-ext/nccl.cpp`.
type MakeNccl = unsafe extern "C" fn(*const RawStore, *const c_char, c_int, c_int, i64, *mut c_char, usize) -> *mut RawGroup;

/// Where processes meet: a key-value store over TCP. It has no authentication: private networks only.
#[derive(Debug)]
pub struct Store(*mut RawStore);

/// Processes that exchange tensors.
#[derive(Debug)]
pub struct ProcessGroup {
    raw: *mut RawGroup,
    size: usize,
}

/// An operation under way. Its tensors must not be touched before [`Work::wait`].
#[derive(Debug)]
#[must_use = "an operation is done only when it was waited for"]
pub struct Work(*mut RawWork);

// SAFETY: each owns a reference-counted C++ object; operations begin under a lock of `c10d.cpp`.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}
// SAFETY: as above.
unsafe impl Send for ProcessGroup {}
// SAFETY: as above.
unsafe impl Sync for ProcessGroup {}

impl Store {
    /// The store on `host:port`, served by this process or joined, for `size` processes.
    ///
    /// # Errors
    /// When the port is taken, or nobody serves it before the time is over.
    pub fn open(host: &str, port: u16, size: usize, serves: bool, timeout: Duration) -> Result<Self> {
        let (host, mut message) = (c_string(host)?, [0; MESSAGE]);
        let (port, size, timeout) = (c_int::from(port), number(size)?, milliseconds(timeout));
        // SAFETY: the string and the message live through the call.
        let raw = unsafe { coppice_store(host.as_ptr(), port, size, c_int::from(serves), timeout, message.as_mut_ptr(), MESSAGE) };
        if raw.is_null() { Err(exception(&message)) } else { Ok(Self(raw)) }
    }
}

impl ProcessGroup {
    /// The Gloo group `name` of `size` processes, this one being `rank`, on the network `interface` by name, or the one that `address`
    /// belongs to. Every operation fails after `timeout`.
    ///
    /// # Errors
    /// When the others do not come before the time is over.
    pub fn gloo(
        store: &Store,
        name: &str,
        interface: Option<&str>,
        address: &str,
        rank: usize,
        size: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let (name, address, interface) = (c_string(name)?, c_string(address)?, interface.map(c_string).transpose()?);
        let (mut message, limit) = ([0; MESSAGE], milliseconds(timeout));
        let (rank, count) = (number(rank)?, number(size)?);
        let interface = interface.as_ref().map_or(null(), |interface| interface.as_ptr());
        // SAFETY: the store, the strings and the message live through the call.
        let raw =
            unsafe { coppice_gloo(store.0, name.as_ptr(), interface, address.as_ptr(), rank, count, limit, message.as_mut_ptr(), MESSAGE) };
        if raw.is_null() { Err(exception(&message)) } else { Ok(Self { raw, size }) }
    }

    /// The NCCL group `name` of `size` processes, this one being `rank`, each on its own GPU; `library` is the one that the build made of
    /// `torch-ext/nccl.cpp`, and libtorch's CUDA library is loaded. Compiled and linked, not yet run on a GPU.
    ///
    /// # Errors
    /// When the library cannot be loaded, or the others do not come before the time is over.
    pub fn nccl(library: &Path, store: &Store, name: &str, rank: usize, size: usize, timeout: Duration) -> Result<Self> {
        let (name, mut message, limit) = (c_string(name)?, [0; MESSAGE], milliseconds(timeout));
        let (number, count) = (number(rank)?, number(size)?);
        let unloadable = |error| TchError::Torch(format!("{} could not be loaded ({error})", library.display()));
        // SAFETY: the library is the build's own, whose initialisers expect nothing of the process.
        let loaded = unsafe { Library::new(library) }.map_err(unloadable)?;
        // SAFETY: the symbol has this signature in `torch-ext/nccl.cpp`.
        let make = unsafe { loaded.get::<MakeNccl>(b"coppice_nccl\0") }.map_err(unloadable)?;
        // SAFETY: the store, the name and the message live through the call.
        let raw = unsafe { make(store.0, name.as_ptr(), number, count, limit, message.as_mut_ptr(), MESSAGE) };
        std::mem::forget(loaded); // the group's code stays in it
        if raw.is_null() { Err(exception(&message)) } else { Ok(Self { raw, size }) }
    }

    /// Sums `tensor` over all processes, in place.
    ///
    /// # Errors
    /// When a process was lost.
    pub fn all_reduce(&self, tensor: &Tensor) -> Result<Work> {
        // SAFETY: the group lives; the work keeps the tensor.
        Work::start(|message| unsafe { coppice_all_reduce(self.raw, tensor.as_ptr(), message, MESSAGE) })
    }

    /// Gives all processes the `tensor` of process `root`, in place.
    ///
    /// # Errors
    /// When a process was lost.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Work> {
        let root = number(root)?;
        // SAFETY: as in `all_reduce`.
        Work::start(|message| unsafe { coppice_broadcast(self.raw, tensor.as_ptr(), root, message, MESSAGE) })
    }

    /// Gathers `part` of every process into the rows of `all [size, ..]`.
    ///
    /// # Errors
    /// When the shapes do not fit, or a process was lost.
    pub fn all_gather(&self, all: &Tensor, part: &Tensor) -> Result<Work> {
        // SAFETY: as in `all_reduce`.
        Work::start(|message| unsafe { coppice_all_gather(self.raw, all.as_ptr(), part.as_ptr(), message, MESSAGE) })
    }

    /// Sends `send[r]` rows of `x [A, ..]` in turn to each process `r` and receives `receive[r]` rows from it: `[sum(receive), ..]`.
    /// Gradients take the way back. Waits for the others.
    ///
    /// # Errors
    /// When the counts do not fit, or a process was lost.
    pub fn exchange(&self, x: &Tensor, send: &[i64], receive: &[i64]) -> Result<Tensor> {
        if send.len() != self.size || receive.len() != self.size {
            let found = format!("exchange: {} and {} counts for a group of {}", send.len(), receive.len(), self.size);
            return Err(TchError::Torch(found));
        }
        let (size, mut message) = (number(self.size)?, [0; MESSAGE]);
        // SAFETY: both lists have the group's size, and everything lives through the call.
        let y = unsafe { coppice_exchange(self.raw, x.as_ptr(), send.as_ptr(), receive.as_ptr(), size, message.as_mut_ptr(), MESSAGE) };
        // SAFETY: the function returns a tensor made by `new`, which nobody else owns.
        if y.is_null() { Err(exception(&message)) } else { Ok(unsafe { Tensor::from_ptr(y) }) }
    }
}

impl Work {
    fn start(begin: impl FnOnce(*mut c_char) -> *mut RawWork) -> Result<Self> {
        let mut message = [0; MESSAGE];
        let raw = begin(message.as_mut_ptr());
        if raw.is_null() { Err(exception(&message)) } else { Ok(Self(raw)) }
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// When a process was lost, or the time is over.
    pub fn wait(self) -> Result<()> {
        let mut message = [0; MESSAGE];
        // SAFETY: the work lives until it is dropped below.
        let code = unsafe { coppice_work_wait(self.0, message.as_mut_ptr(), MESSAGE) };
        if code == 0 { Ok(()) } else { Err(exception(&message)) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `coppice_store`, dropped once.
        unsafe { coppice_store_free(self.0) }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // SAFETY: made by `coppice_gloo`, dropped once.
        unsafe { coppice_group_free(self.raw) }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // SAFETY: made by an operation, dropped once.
        unsafe { coppice_work_free(self.0) }
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| TchError::Torch(format!("{text:?} holds a zero byte")))
}

fn number(count: usize) -> Result<c_int> {
    c_int::try_from(count).map_err(|_| TchError::Torch(format!("{count} processes are too many")))
}

fn milliseconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)
}
