//! All scores of all labelled records: every record is one case, so that its scores share what they compare; records in parallel.

use std::time::Instant;

use rayon::prelude::*;

use super::measured::Measured;
use crate::record::{Record, Sample};
use crate::scores::{Case, Cost, Missing, Scorer};
use crate::setup::Setup;
use crate::verdict::unseen_score;

/// One score of one record.
pub(super) struct Cell {
    pub(super) score: Result<f64, Missing>,
    /// Time it took; what several scores share counts for the first that asks for it.
    pub(super) seconds: f64,
    /// Tokens the model reads or writes for it beyond the response; unknown where the record does not tell.
    pub(super) extra_tokens: Option<usize>,
}

/// One column a score, in the order of `scorers`.
pub(super) fn columns(scorers: &[&dyn Scorer], labelled: &[(&Record, bool)], setup: &Setup) -> Vec<Measured> {
    let row = |&(record, _): &(&Record, bool)| {
        let case = Case::with(record, setup);
        scorers.iter().map(|scorer| cell(*scorer, &case)).collect::<Vec<Cell>>()
    };
    let rows: Vec<Vec<Cell>> = labelled.par_iter().map(row).collect();
    let column = |place: usize| rows.iter().zip(labelled).map(move |(cells, &(_, wrong))| (&cells[place], wrong));
    (0..scorers.len()).map(|place| Measured::new(column(place))).collect()
}

fn cell(scorer: &dyn Scorer, case: &Case<'_>) -> Cell {
    let start = Instant::now();
    let score = unseen_score(scorer, case);
    Cell { score, seconds: start.elapsed().as_secs_f64(), extra_tokens: extra_tokens(scorer.card().cost, case.record) }
}

fn extra_tokens(cost: Cost, record: &Record) -> Option<usize> {
    match cost {
        Cost::Text | Cost::OnePass => Some(0),
        Cost::ExtraPass => length(record.tokens.as_ref(), record.token_logprobs.as_ref()),
        Cost::Samples | Cost::Comparison => {
            record.samples.iter().map(|Sample { tokens, token_logprobs, .. }| length(tokens.as_ref(), token_logprobs.as_ref())).sum()
        }
    }
}

fn length(tokens: Option<&Vec<i64>>, logprobs: Option<&Vec<f64>>) -> Option<usize> {
    tokens.map(Vec::len).or_else(|| logprobs.map(Vec::len))
}
