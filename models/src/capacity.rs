//! Room for tokens at each expert, and which assignments are dropped where it runs out.
//!
//! A matter of training alone: dropping bounds the work of the busiest expert (Switch, arXiv 2101.03961; GShard, 2006.16668) and acts
//! as a regulariser (2412.09952). Evaluation and inference are dropless.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::Result;
use crate::router::Assignment;

// A assignments, N experts.

/// Which assignments an expert without room drops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropPolicy {
    /// Those of least weight.
    #[default]
    Probs,
    /// Those of the last tokens.
    Position,
}

/// How many tokens an expert takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// `C`: room for `ceil(C T K / N)` tokens at each expert.
    pub factor: f64,
    /// Which are dropped.
    #[serde(default)]
    pub drop: DropPolicy,
}

impl Capacity {
    /// Tokens each of `experts` has room for, of `assignments`.
    pub fn room(&self, assignments: i64, experts: i64) -> i64 {
        (self.factor * assignments as f64 / experts as f64).ceil() as i64
    }

    /// What is kept of an assignment.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn keep(&self, all: Assignment) -> Result<Assignment> {
        let (assignments, n) = (all.tokens.size1()?, all.counts.size1()?);
        let room = self.room(assignments, n);
        let kept = self.places(&all)?.f_lt(room)?.f_nonzero()?.f_squeeze_dim(1)?; // ascending: still sorted by expert
        Ok(Assignment {
            tokens: all.tokens.f_index_select(0, &kept)?,
            weights: all.weights.f_index_select(0, &kept)?,
            counts: all.counts.f_clamp_max(room)?,
        })
    }

    /// The place of each assignment in its expert's queue, `[A]`, from 0.
    fn places(&self, all: &Assignment) -> Result<Tensor> {
        let experts = all.experts()?;
        let starts = all.counts.f_cumsum(0, Kind::Int64)?.f_sub(&all.counts)?.f_index_select(0, &experts)?;
        let range = Tensor::f_arange(experts.size1()?, (Kind::Int64, experts.device()))?;
        if self.drop == DropPolicy::Position {
            return Ok(range.f_sub(&starts)?);
        }
        let by_weight = all.weights.f_detach()?.f_argsort_stable(true, 0, true)?;
        let by_expert = experts.f_index_select(0, &by_weight)?.f_argsort_stable(true, 0, false)?;
        let queue = by_weight.f_index_select(0, &by_expert)?; // sorted by expert, within it by weight
        Ok(Tensor::f_zeros_like(&queue)?.f_scatter(0, &queue, &range.f_sub(&starts)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two experts; the first is sent tokens 0 to 3, the second token 4.
    fn assignment() -> Assignment {
        Assignment {
            tokens: Tensor::from_slice(&[0_i64, 1, 2, 3, 4]),
            weights: Tensor::from_slice(&[0.1_f32, 0.9, 0.5, 0.7, 0.2]),
            counts: Tensor::from_slice(&[4_i64, 1]),
        }
    }

    fn kept(factor: f64, drop: DropPolicy) -> (Vec<i64>, Vec<i64>) {
        let kept = Capacity { factor, drop }.keep(assignment()).unwrap();
        (Vec::try_from(kept.tokens).unwrap(), Vec::try_from(kept.counts).unwrap())
    }

    #[test]
    fn the_last_or_the_least_are_dropped() {
        assert_eq!(kept(0.8, DropPolicy::Position), (vec![0, 1, 4], vec![2, 1])); // room ceil(0.8 * 5 / 2) = 2
        assert_eq!(kept(0.8, DropPolicy::Probs), (vec![1, 3, 4], vec![2, 1]));
        assert_eq!(kept(1.0, DropPolicy::Probs), (vec![1, 2, 3, 4], vec![3, 1]));
        assert_eq!(kept(2.0, DropPolicy::Position), (vec![0, 1, 2, 3, 4], vec![4, 1]));
    }
}
