//! Experts spread over processes: each holds some of them whole, and tokens travel to theirs and back (GShard, arXiv 2006.16668).

use tch::{Kind, Tensor, no_grad};

use crate::distributed::Group;
use crate::error::{Error, Result};

// W ranks of the group, N experts, E = N / W of them here, A assignments of this rank's tokens, B rows that arrive here, D hidden.

/// The part of a layer's experts that this process holds.
#[derive(Debug, Clone)]
pub struct ExpertParallel {
    group: Group,
    experts: i64, // N
}

/// The way of rows between their ranks and their experts.
struct Ways {
    send: Vec<i64>,    // rows to each rank
    receive: Vec<i64>, // rows from each rank
    by_expert: Tensor, // [B], arrived rows in the order of experts
    back: Tensor,      // [B], its inverse
    ends: Tensor,      // [E], i32, cumulative
}

impl ExpertParallel {
    /// The part of `experts` that this process of `group` holds: consecutive ones, in the order of ranks.
    ///
    /// # Errors
    /// When the experts do not divide among the ranks.
    pub fn new(group: &Group, experts: i64) -> Result<Self> {
        let ranks = group.size as i64;
        if experts % ranks == 0 {
            return Ok(Self { group: group.clone(), experts });
        }
        Err(Error::Input(format!("{experts} experts cannot be spread over {ranks} ranks, expected a divisor")))
    }

    /// The first expert here.
    pub fn first(&self) -> i64 {
        self.group.rank as i64 * self.here()
    }

    fn here(&self) -> i64 {
        self.experts / self.group.size as i64
    }

    /// This process's part of `all [N, ..]`, in memory of its own.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn part(&self, all: &Tensor) -> Result<Tensor> {
        no_grad(|| Ok(all.f_narrow(0, self.first(), self.here())?.f_detach_copy()?))
    }

    /// `rows [A, D]`, sorted by expert as `counts [N]` says, each through its expert wherever that is, `[A, D]`, with gradients. `experts`
    /// runs those of this process on rows sorted by expert, given their cumulative ends `[E]`. All ranks of the group must call it.
    ///
    /// # Errors
    /// [`Error::Distributed`] when a process was lost.
    pub fn run(&self, rows: &Tensor, counts: &Tensor, experts: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let Ways { send, receive, by_expert, back, ends } = self.ways(counts)?;
        let arrived = self.group.exchange(rows, &send, &receive)?; // [B, D], by rank and expert
        let outer = experts(&arrived.f_index_select(0, &by_expert)?, &ends)?;
        self.group.exchange(&outer.f_index_select(0, &back)?, &receive, &send)
    }

    fn ways(&self, counts: &Tensor) -> Result<Ways> {
        let (ranks, here) = (self.group.size as i64, self.here());
        let all = self.group.gather(counts)?.f_view([ranks, ranks, here])?; // [from, to, E]
        let totals = all.f_sum_dim_intlist([-1].as_slice(), false, Kind::Int64)?;
        let rank = self.group.rank as i64;
        let (send, receive) = (Vec::<i64>::try_from(totals.f_select(0, rank)?)?, Vec::<i64>::try_from(totals.f_select(1, rank)?)?);
        let arriving = all.f_select(1, rank)?; // [from, E]
        let ids = Tensor::f_arange(here, (Kind::Int64, counts.device()))?.f_repeat([ranks])?;
        let ids = ids.f_repeat_interleave_self_tensor(&arriving.f_flatten(0, -1)?, 0, receive.iter().sum::<i64>())?; // [B]
        let by_expert = ids.f_argsort_stable(true, 0, false)?;
        let back = by_expert.f_argsort_stable(true, 0, false)?;
        let ends = arriving.f_sum_dim_intlist([0].as_slice(), false, Kind::Int64)?.f_cumsum(0, Kind::Int64)?.f_to_kind(Kind::Int)?;
        Ok(Ways { send, receive, by_expert, back, ends })
    }
}
