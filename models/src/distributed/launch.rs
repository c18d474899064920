//! Which rank of how many this process is, as its launcher says in environment variables: torchrun, mpirun or Slurm.
//!
//! torchrun's variables also serve every launcher that sets them by hand. mpirun is asked before Slurm, because within a batch job
//! every process that mpirun starts sees the `SLURM_PROCID` of the batch script.

mod nodes;
#[cfg(test)]
mod tests;

use std::env;

/// One rank of a distributed run, and where the ranks meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Number of this process, from 0.
    pub rank: usize,
    /// Number of processes, at least 2.
    pub world_size: usize,
    /// Number of this process on its machine, from 0.
    pub local_rank: usize,
    /// Host of the key-value store through which the ranks find each other.
    pub master_addr: String,
    /// Port of the store.
    pub master_port: u16,
    /// Whether the launcher serves the store, so that every rank is a client; else rank 0 serves it.
    pub agent_store: bool,
}

/// Why the environment does not say which rank this is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// A launcher's variables are there in part.
    #[error("{set} is set but {missing} is not, and a rank of a distributed run needs both")]
    Missing {
        /// A variable that is there.
        set: &'static str,
        /// What is not there.
        missing: &'static str,
    },
    /// A value that is not a whole number from 0.
    #[error("{variable} is {value:?}, expected a whole number")]
    NotANumber {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// A rank that the world does not have.
    #[error("{variable} is {rank}, expected less than {size_variable}, which is {world_size}")]
    Rank {
        /// Name of the rank.
        variable: &'static str,
        /// Its value.
        rank: usize,
        /// Name of the world size.
        size_variable: &'static str,
        /// Its value.
        world_size: usize,
    },
    /// A number that is no port.
    #[error("MASTER_PORT is {0}, expected a port from 1 to 65535")]
    Port(usize),
    /// A node list that names no first host.
    #[error("SLURM_JOB_NODELIST is {0:?}, expected hosts such as node[03-07,11]; MASTER_ADDR may name the host of rank 0 instead")]
    Nodes(String),
}

type Result<T> = std::result::Result<T, LaunchError>;

impl Launch {
    /// What this process's environment says; `None` for a single process.
    ///
    /// # Errors
    /// As [`Launch::from`]. A value that is not UTF-8 counts as not set.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from(|name| env::var(name).ok())
    }

    /// What the variables say that `lookup` gives by name; `None` where no launcher is named or the world is one process. An empty
    /// value counts as not set. Slurm's and mpirun's variables win over a part of torchrun's.
    ///
    /// # Errors
    /// When the variables of a launcher are there in part, or a value is not what its name says.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let environment = Environment(&lookup);
        let launched = match environment.torchrun() {
            Err(error @ LaunchError::Missing { .. }) => Some(environment.cluster()?.ok_or(error)?),
            found => found?.map_or_else(|| environment.cluster(), |found| Ok(Some(found)))?,
        };
        Ok(launched.filter(|launch| launch.world_size > 1))
    }
}

/// Names of a launcher's variables.
struct Names {
    rank: &'static str,
    world_size: &'static str,
    local_rank: &'static str,
}

const TORCHRUN: Names = Names { rank: "RANK", world_size: "WORLD_SIZE", local_rank: "LOCAL_RANK" };
const SLURM: Names = Names { rank: "SLURM_PROCID", world_size: "SLURM_NTASKS", local_rank: "SLURM_LOCALID" };
const OPEN_MPI: Names =
    Names { rank: "OMPI_COMM_WORLD_RANK", world_size: "OMPI_COMM_WORLD_SIZE", local_rank: "OMPI_COMM_WORLD_LOCAL_RANK" };
const HYDRA: Names = Names { rank: "PMI_RANK", world_size: "PMI_SIZE", local_rank: "MPI_LOCALRANKID" };

/// The first port derived from a Slurm job, and how many there are: below those that Linux hands out by itself.
const SLURM_PORTS: (u64, u64) = (15_000, 20_000);

struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn torchrun(&self) -> Result<Option<Launch>> {
        if [TORCHRUN.rank, TORCHRUN.world_size, TORCHRUN.local_rank].iter().all(|name| self.get(name).is_none()) {
            return Ok(None);
        }
        let agent_store = self.get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let launch = self.ranks(&TORCHRUN)?;
        Ok(Some(Launch { agent_store, ..self.meeting(launch, TORCHRUN.rank)? }))
    }

    /// What mpirun or Slurm says.
    fn cluster(&self) -> Result<Option<Launch>> {
        // Both kinds of mpirun number the processes of a machine; srun with PMI does not.
        if self.get(OPEN_MPI.rank).is_some() {
            return self.mpirun(&OPEN_MPI).map(Some);
        }
        if self.get(HYDRA.local_rank).is_some() {
            return self.mpirun(&HYDRA).map(Some);
        }
        // SLURM_NTASKS alone is an allocation in which srun started nothing.
        if self.get(SLURM.rank).is_some() { self.slurm().map(Some) } else { Ok(None) }
    }

    fn mpirun(&self, names: &Names) -> Result<Launch> {
        self.meeting(self.ranks(names)?, names.rank)
    }

    fn slurm(&self) -> Result<Launch> {
        let launch = self.ranks(&SLURM)?;
        if launch.world_size == 1 {
            return Ok(launch);
        }
        Ok(Launch { master_addr: self.slurm_address()?, master_port: self.slurm_port()?, ..launch })
    }

    fn slurm_address(&self) -> Result<String> {
        if let Some(address) = self.get("MASTER_ADDR").or_else(|| self.get("SLURM_LAUNCH_NODE_IPADDR")) {
            return Ok(address);
        }
        let nodes = self.need("SLURM_JOB_NODELIST", "SLURM_PROCID", "MASTER_ADDR (or SLURM_JOB_NODELIST)")?;
        nodes::first(&nodes).ok_or(LaunchError::Nodes(nodes))
    }

    fn slurm_port(&self) -> Result<u16> {
        if let Some(port) = self.number("MASTER_PORT")? {
            return port_of(port);
        }
        let job = self.number("SLURM_JOB_ID")?;
        let job = job.ok_or(LaunchError::Missing { set: "SLURM_PROCID", missing: "MASTER_PORT (or SLURM_JOB_ID)" })?;
        let (first, count) = SLURM_PORTS;
        port_of((first + job as u64 % count) as usize)
    }

    /// The numbers of a launcher of which at least one is there; where the ranks meet is left open.
    fn ranks(&self, names: &Names) -> Result<Launch> {
        let there = [names.rank, names.world_size, names.local_rank].into_iter().find(|name| self.get(name).is_some());
        let need = |name| self.number(name)?.ok_or(LaunchError::Missing { set: there.unwrap_or(names.rank), missing: name });
        let (rank, world_size) = (need(names.rank)?, need(names.world_size)?);
        within(names, names.rank, rank, world_size)?;
        let local_rank = if world_size == 1 { 0 } else { need(names.local_rank)? };
        within(names, names.local_rank, local_rank, world_size)?;
        Ok(Launch { rank, world_size, local_rank, master_addr: String::new(), master_port: 0, agent_store: false })
    }

    /// Adds the address that the user or the launcher gives; a single process needs none.
    fn meeting(&self, launch: Launch, set: &'static str) -> Result<Launch> {
        if launch.world_size == 1 {
            return Ok(launch);
        }
        let master_addr = self.need("MASTER_ADDR", set, "MASTER_ADDR")?;
        let port = self.number("MASTER_PORT")?.ok_or(LaunchError::Missing { set, missing: "MASTER_PORT" })?;
        Ok(Launch { master_addr, master_port: port_of(port)?, ..launch })
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str, set: &'static str, missing: &'static str) -> Result<String> {
        self.get(name).ok_or(LaunchError::Missing { set, missing })
    }

    fn number(&self, variable: &'static str) -> Result<Option<usize>> {
        let parse = |value: String| value.trim().parse().map_err(|_| LaunchError::NotANumber { variable, value });
        self.get(variable).map(parse).transpose()
    }
}

fn within(names: &Names, variable: &'static str, rank: usize, world_size: usize) -> Result<()> {
    let fits = rank < world_size;
    if fits { Ok(()) } else { Err(LaunchError::Rank { variable, rank, size_variable: names.world_size, world_size }) }
}

fn port_of(port: usize) -> Result<u16> {
    u16::try_from(port).ok().filter(|&port| port > 0).ok_or(LaunchError::Port(port))
}
