//! A run as one of several processes: data parallelism over all of them, expert parallelism within groups of them.
//!
//! Every rank reads its share of each step's sequences; gradients, losses and loads are summed over ranks before anything moves, so that
//! all ranks make the same update. Experts may be spread over ranks: then tokens travel to them in the forward pass, and their gradients
//! are complete up to the ranks that hold the same ones.

mod reducer;

use std::ops::Range;
use std::time::Duration;

use coppice_models::Model;
use coppice_models::distributed::{Group, World};
use coppice_models::state::Parameter;
use tch::{Device, Kind, Tensor};

pub(super) use self::reducer::Reducer;
use super::error::{Result, TrainError};
use super::recipe::{ParallelConfig, TrainConfig};

/// This process among those of the run.
#[derive(Debug, Default)]
pub struct Ranks(Option<Groups>);

#[derive(Debug)]
struct Groups {
    /// All ranks, for numbers on the host.
    host: Group,
    /// All ranks, for tensors where the model is.
    all: Group,
    /// Ranks that share one set of experts; none where every rank holds all.
    experts: Option<Group>,
    /// Ranks that hold the same experts.
    replicas: Option<Group>,
    bucket_bytes: usize,
}

impl Ranks {
    /// A run in a single process.
    pub fn alone() -> Self {
        Self::default()
    }

    /// The groups of `world` that a run with these settings needs, for a model on `device`. All ranks must ask.
    ///
    /// # Errors
    /// When the ranks do not divide into groups, or one is lost.
    pub fn of(world: &World, config: &ParallelConfig, device: Device) -> Result<Self> {
        let (size, spread) = (world.size, config.experts);
        if size % spread != 0 {
            return Err(TrainError::Recipe(format!("parallel.experts is {spread}, expected a divisor of the {size} ranks")));
        }
        let group = |name: &str, ranks: Vec<usize>| world.group_on(device, &format!("{name} {}", ranks[0]), &ranks);
        let first = world.rank / spread * spread;
        let experts = (spread > 1).then(|| group("experts", (first..first + spread).collect())).transpose()?;
        let alike = (world.rank % spread..size).step_by(spread).collect::<Vec<_>>();
        let replicas = (spread > 1 && alike.len() > 1).then(|| group("replicas", alike)).transpose()?;
        let bucket_bytes = config.bucket_mib << 20;
        let every: Vec<usize> = (0..size).collect();
        let host = world.group("host", &every)?;
        Ok(Self(Some(Groups { host, all: group("all", every)?, experts, replicas, bucket_bytes })))
    }

    /// How long a rank may be silent.
    pub fn timeout(config: &ParallelConfig) -> Duration {
        Duration::from_secs(config.timeout_seconds)
    }

    /// Whether this is the rank that writes and speaks.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |groups| groups.all.size)
    }

    fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |groups| groups.all.rank)
    }

    /// Whether experts are spread over ranks.
    pub(super) fn spreads(&self) -> bool {
        self.0.as_ref().is_some_and(|groups| groups.experts.is_some())
    }

    /// Keeps this rank's part of the experts of `model`.
    pub(super) fn spread(&self, model: &mut Model) -> Result<()> {
        match self.0.as_ref().and_then(|groups| groups.experts.as_ref()) {
            Some(group) => Ok(model.spread_experts(group)?),
            None => Ok(()),
        }
    }

    /// The sequences of a step that this rank reads.
    pub(super) fn share(&self, config: &TrainConfig) -> Result<Range<usize>> {
        let (batch, size) = (config.batch(), self.size());
        if batch % size != 0 {
            return Err(TrainError::Recipe(format!("a step has {batch} sequences, expected a multiple of the {size} ranks")));
        }
        let each = batch / size;
        Ok(self.rank() * each..(self.rank() + 1) * each)
    }

    /// The number of this rank's first micro-batch among all of a step, of which it runs `own`.
    pub(super) fn first_micro_batch(&self, own: usize) -> usize {
        self.rank() * own
    }

    /// What sums gradients over ranks while the backward pass goes on; none in a single process.
    pub(super) fn reducer(&self, parameters: &[&Parameter]) -> Option<Reducer> {
        let Groups { all, replicas, bucket_bytes, .. } = self.0.as_ref()?;
        let own: Vec<bool> = parameters.iter().map(|parameter| self.is_spread(parameter)).collect();
        Some(Reducer::new(all.clone(), replicas.clone(), own, *bucket_bytes))
    }

    /// Whether ranks hold different parts of a parameter.
    pub(super) fn is_spread(&self, parameter: &Parameter) -> bool {
        self.spreads() && parameter.name.contains(".mlp.experts.")
    }

    /// The sum over all ranks, in place.
    pub(super) fn sum(&self, tensor: &Tensor) -> Result<()> {
        let group = |groups: &Groups| if tensor.device().is_cuda() { groups.all.sum(tensor) } else { groups.host.sum(tensor) };
        self.0.as_ref().map_or(Ok(()), |groups| Ok(group(groups)?))
    }

    /// The sum over the ranks that share one set of experts, in place.
    pub(super) fn sum_over_experts(&self, tensor: &Tensor) -> Result<()> {
        let group = self.0.as_ref().and_then(|groups| groups.experts.as_ref());
        group.map_or(Ok(()), |group| Ok(group.sum(tensor)?))
    }

    /// Whether `here` holds on any rank.
    pub(super) fn any(&self, here: bool) -> Result<bool> {
        let flag = Tensor::f_full([1], i64::from(here), (Kind::Int64, Device::Cpu))?;
        self.sum(&flag)?;
        Ok(flag.f_int64_value(&[0])? > 0)
    }

    /// A number of the leading rank, on all ranks.
    pub(super) fn lead(&self, number: i64) -> Result<i64> {
        let told = Tensor::f_full([1], number, (Kind::Int64, Device::Cpu))?;
        self.0.as_ref().map_or(Ok(()), |groups| groups.host.broadcast(&told, 0))?;
        Ok(told.f_int64_value(&[0])?)
    }

    /// Refuses ranks whose parameters differ, by the sums of those that all of them hold.
    pub(super) fn agree<'a>(&self, parameters: impl Iterator<Item = &'a Parameter>) -> Result<()> {
        let Some(groups) = &self.0 else { return Ok(()) };
        let held = parameters.filter(|parameter| !self.is_spread(parameter));
        let sums = held.map(|parameter| Ok(parameter.tensor.f_sum(Kind::Double)?.f_to_device(Device::Cpu)?)).collect::<Result<Vec<_>>>()?;
        let all = groups.host.gather(&Tensor::f_stack(&sums, 0)?.f_detach()?)?;
        let differ = all.f_ne_tensor(&all.f_narrow(0, 0, 1)?)?.f_any()?.f_int64_value(&[])? != 0;
        if differ { Err(TrainError::Recipe("the ranks began with different weights".into())) } else { Ok(()) }
    }

    /// Parameters as one process would hold them: the parts of spread ones are gathered. All ranks must ask.
    pub(super) fn whole<'a>(&self, parameters: impl Iterator<Item = &'a Parameter>) -> Result<Vec<Parameter>> {
        let group = self.0.as_ref().and_then(|groups| groups.experts.as_ref());
        let whole = |parameter: &'a Parameter| {
            let spread = group.filter(|_| self.is_spread(parameter));
            let tensor = match spread {
                Some(group) => group.gather(&parameter.tensor.f_detach()?)?.f_flatten(0, 1)?,
                None => parameter.tensor.shallow_clone(),
            };
            Ok(Parameter { tensor, first: 0, name: parameter.name.clone(), ..*parameter })
        };
        parameters.map(whole).collect()
    }
}
