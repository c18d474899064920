//! What stands in for c10d in a build without Gloo's headers: the same interface, and one sentence.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use tch::{TchError, Tensor};

use super::Result;

const OFF: &str = "this build has no distribution: install libgloo-dev (its headers) and build again";

/// Where processes would meet.
#[derive(Debug)]
pub struct Store(Infallible);

/// Processes that would exchange tensors.
#[derive(Debug)]
pub struct ProcessGroup(Infallible);

/// An operation that never begins.
#[derive(Debug)]
pub struct Work(Infallible);

impl Store {
    /// Says that distribution is off.
    ///
    /// # Errors
    /// Always.
    pub fn open(_host: &str, _port: u16, _size: usize, _serves: bool, _timeout: Duration) -> Result<Self> {
        Err(TchError::Torch(OFF.to_owned()))
    }
}

impl ProcessGroup {
    /// Never called: there is no store.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn gloo(
        store: &Store,
        _name: &str,
        _interface: Option<&str>,
        _address: &str,
        _rank: usize,
        _size: usize,
        _timeout: Duration,
    ) -> Result<Self> {
        match store.0 {}
    }

    /// Never called: there is no store.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn nccl(_library: &Path, store: &Store, _name: &str, _rank: usize, _size: usize, _timeout: Duration) -> Result<Self> {
        match store.0 {}
    }

    /// Never called: there is no group.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn all_reduce(&self, _tensor: &Tensor) -> Result<Work> {
        match self.0 {}
    }

    /// Never called: there is no group.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn broadcast(&self, _tensor: &Tensor, _root: usize) -> Result<Work> {
        match self.0 {}
    }

    /// Never called: there is no group.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn all_gather(&self, _all: &Tensor, _part: &Tensor) -> Result<Work> {
        match self.0 {}
    }

    /// Never called: there is no group.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn exchange(&self, _x: &Tensor, _send: &[i64], _receive: &[i64]) -> Result<Tensor> {
        match self.0 {}
    }
}

impl Work {
    /// Never called: there is no work.
    ///
    /// # Errors
    /// None: it cannot be called.
    pub fn wait(self) -> Result<()> {
        match self.0 {}
    }
}
