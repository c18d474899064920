//! The processes of a run and groups of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::ext::c10d::{ProcessGroup, Store, Work};

/// The library with the NCCL groups, in builds that were given CUDA's headers.
const NCCL: Option<&str> = option_env!("COPPICE_NCCL");

/// Whether this build can exchange tensors between GPUs.
pub const HAS_NCCL: bool = NCCL.is_some();

/// Where the processes of a run meet.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Host of the store.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Whether this process serves the store.
    pub serves: bool,
}

/// All processes of a run.
#[derive(Debug)]
pub struct World {
    store: Store,
    meeting: Meeting,
    timeout: Duration,
    /// This process, counted from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
}

/// Some processes that exchange tensors, in the order of their ranks.
#[derive(Debug, Clone)]
pub struct Group {
    inner: Arc<ProcessGroup>,
    /// This process within the group.
    pub rank: usize,
    /// Processes of the group.
    pub size: usize,
}

impl World {
    /// Meets the others; whatever takes longer than `timeout` fails.
    ///
    /// # Errors
    /// When the store cannot be served or joined.
    pub fn join(meeting: Meeting, rank: usize, size: usize, timeout: Duration) -> Result<Self> {
        let store = Store::open(&meeting.address, meeting.port, size, meeting.serves, timeout).map_err(|error| lost("meet", &error))?;
        Ok(Self { store, meeting, timeout, rank, size })
    }

    /// [`World::group`] for tensors on this process's current `device`: Gloo for the CPU, NCCL for a GPU.
    ///
    /// # Errors
    /// As [`World::group`], and for a GPU when this build has no NCCL.
    pub fn group_on(&self, device: Device, name: &str, ranks: &[usize]) -> Result<Group> {
        if !device.is_cuda() {
            return self.group(name, ranks);
        }
        let no_nccl = "this build has no NCCL: name the folders of CUDA's and NCCL's headers in COPPICE_CUDA_INCLUDE and build again";
        let library = NCCL.ok_or_else(|| Error::Input(no_nccl.to_owned()))?;
        let (rank, size) = (self.place(name, ranks)?, ranks.len());
        let inner = ProcessGroup::nccl(Path::new(library), &self.store, &format!("nccl {name}"), rank, size, self.timeout);
        Ok(Group { inner: Arc::new(inner.map_err(|error| lost("join", &error))?), rank, size })
    }

    fn place(&self, name: &str, ranks: &[usize]) -> Result<usize> {
        let place = ranks.iter().position(|&rank| rank == self.rank);
        place.ok_or_else(|| Error::Distributed(format!("rank {} is not of group {name}", self.rank)))
    }

    /// The group of the processes `ranks`, of which this is one, under a `name` that no other group of the run has. All of them must ask.
    ///
    /// # Errors
    /// When this process is not among them, or the others do not come.
    pub fn group(&self, name: &str, ranks: &[usize]) -> Result<Group> {
        let rank = self.place(name, ranks)?;
        let interface = std::env::var("GLOO_SOCKET_IFNAME").ok();
        let Meeting { address, port, .. } = &self.meeting;
        let address = own_address(address, *port).map_err(|error| Error::Distributed(format!("no way to {address}: {error}")))?;
        let inner = ProcessGroup::gloo(&self.store, name, interface.as_deref(), &address, rank, ranks.len(), self.timeout);
        Ok(Group { inner: Arc::new(inner.map_err(|error| lost("join", &error))?), rank, size: ranks.len() })
    }
}

impl Group {
    /// Begins to sum `tensor` over the group, in place.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn all_reduce(&self, tensor: &Tensor) -> Result<Work> {
        self.inner.all_reduce(tensor).map_err(|error| lost("sum", &error))
    }

    /// The sum of `tensor` over the group, in place.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        finish(self.all_reduce(tensor)?)
    }

    /// `tensor` of the group's process `root` on all of them, in place.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<()> {
        finish(self.inner.broadcast(tensor, root).map_err(|error| lost("broadcast", &error))?)
    }

    /// `part [..]` of every process, `[size, ..]`.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn gather(&self, part: &Tensor) -> Result<Tensor> {
        let size: Vec<i64> = std::iter::once(self.size as i64).chain(part.size()).collect();
        let all = Tensor::f_empty(&size[..], (part.kind(), part.device()))?;
        finish(self.inner.all_gather(&all, &part.f_contiguous()?).map_err(|error| lost("gather", &error))?)?;
        Ok(all)
    }

    /// Sends `send[r]` rows of `x [A, ..]` to each process `r` in turn, receives `receive[r]` rows from it; gradients take the way back.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn exchange(&self, x: &Tensor, send: &[i64], receive: &[i64]) -> Result<Tensor> {
        self.inner.exchange(x, send, receive).map_err(|error| lost("exchange", &error))
    }

    /// Waits until all processes of the group are here.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn barrier(&self) -> Result<()> {
        self.sum(&Tensor::f_zeros([1], (Kind::Float, Device::Cpu))?)
    }
}

/// Waits for an operation.
///
/// # Errors
/// [`Error::Distributed`] when a process was lost.
pub fn finish(work: Work) -> Result<()> {
    work.wait().map_err(|error| lost("wait", &error))
}

/// The first line of what c10d says.
fn lost(what: &str, error: &tch::TchError) -> Error {
    let text = error.to_string();
    Error::Distributed(format!("could not {what} with the other ranks: {}", text.lines().next().unwrap_or("no reason given")))
}

/// The address of this machine on the way to `host`: asked of the system by a socket that sends nothing.
fn own_address(host: &str, port: u16) -> std::io::Result<String> {
    let remote = (host, port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip().to_string())
}
