//! Sums gradients over ranks in buckets, while the backward pass goes on (as DistributedDataParallel does, arXiv 2006.15704).

use coppice_models::distributed::group::finish;
use coppice_models::distributed::{Group, Work};
use tch::{Kind, Tensor, no_grad_guard};

use crate::train::error::Result;

/// Bytes of a number while it is summed, f32.
const SIZE: usize = 4;

/// A bucket on its way.
#[derive(Debug)]
struct Bucket {
    places: Vec<usize>,
    flat: Tensor, // f32
    work: Work,
}

/// Gradients that are final, on their way to the other ranks.
#[derive(Debug)]
pub(in crate::train) struct Reducer {
    all: Group,
    replicas: Option<Group>,
    /// Which parameters are spread, and so summed over replicas alone.
    spread: Vec<bool>,
    bucket_bytes: usize,
    /// Final gradients that wait for their bucket to fill: of parameters that all ranks hold, and of spread ones.
    waiting: [Vec<(usize, Tensor)>; 2],
    under_way: Vec<Bucket>,
}

impl Reducer {
    pub(super) fn new(all: Group, replicas: Option<Group>, spread: Vec<bool>, bucket_bytes: usize) -> Self {
        Self { all, replicas, spread, bucket_bytes, waiting: Default::default(), under_way: Vec::new() }
    }

    /// Takes the final gradient of the parameter at `place`; every rank calls this in the same order.
    pub(in crate::train) fn ready(&mut self, place: usize, gradient: &Tensor) -> Result<()> {
        let kind = usize::from(self.spread[place]);
        if kind == 1 && self.replicas.is_none() {
            return Ok(()); // nobody else holds it
        }
        self.waiting[kind].push((place, gradient.shallow_clone()));
        let bytes: usize = self.waiting[kind].iter().map(|(_, gradient)| gradient.numel() * SIZE).sum();
        if bytes >= self.bucket_bytes { self.send(kind) } else { Ok(()) }
    }

    /// Waits for all sums and writes them into `gradients`.
    pub(in crate::train) fn finish(mut self, gradients: &mut [Tensor]) -> Result<()> {
        let _guard = no_grad_guard();
        self.send(0)?;
        self.send(1)?;
        for Bucket { places, flat, work } in self.under_way {
            finish(work)?;
            let mut from = 0;
            for place in places {
                let gradient = &mut gradients[place];
                let count = gradient.numel() as i64;
                gradient.f_copy_(&flat.f_narrow(0, from, count)?.f_view_as(gradient)?)?;
                from += count;
            }
        }
        Ok(())
    }

    /// Sends what waits.
    fn send(&mut self, kind: usize) -> Result<()> {
        let _guard = no_grad_guard();
        let waiting = std::mem::take(&mut self.waiting[kind]);
        let Some(group) = (if kind == 0 { Some(&self.all) } else { self.replicas.as_ref() }).filter(|_| !waiting.is_empty()) else {
            return Ok(());
        };
        let parts = waiting.iter().map(|(_, gradient)| Ok(gradient.f_flatten(0, -1)?.f_to_kind(Kind::Float)?));
        let flat = Tensor::f_cat(&parts.collect::<Result<Vec<_>>>()?, 0)?;
        let work = group.all_reduce(&flat)?;
        self.under_way.push(Bucket { places: waiting.into_iter().map(|(place, _)| place).collect(), flat, work });
        Ok(())
    }
}
