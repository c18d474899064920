//! Where every parameter lies in the vectors of all ranks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use coppice_models::Config;

use super::Told;
use super::names::bare;
use super::order::{Order, candidates};
use super::rank::Rank;
use crate::train::error::{Result, TrainError};

/// A stretch of one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) rank: usize,
    /// Which of the rank's vectors.
    pub(super) vector: usize,
    pub(super) range: Range<usize>,
}

/// The pieces of every parameter in their order, by its name in the file, bare of wrappers.
pub(super) type Pieces = BTreeMap<String, Vec<Piece>>;

/// Finds every parameter: where the files' mappings say, else in the order of NeoX.
pub(super) fn pieces(path: &Path, ranks: &[Rank], config: &Config) -> Result<Pieces> {
    let found = partitions(ranks).and_then(|()| match mapped(ranks) {
        Some(found) => found,
        None => cut(ranks, config),
    });
    found.map_err(|reason| TrainError::checkpoint(path, reason))
}

/// Refuses files that are not all of their set, or not of one set.
fn partitions(ranks: &[Rank]) -> Told<()> {
    let first = &ranks[0];
    for (index, rank) in ranks.iter().enumerate() {
        if let Some(count) = rank.partitions.iter().find(|&&count| ranks.len() > 1 && count != ranks.len() as i64) {
            return Err(format!("the state was cut for {count} ranks and there are files of {}", ranks.len()));
        }
        if (rank.step, rank.vectors.len()) != (first.step, first.vectors.len()) {
            let (a, b) = ((first.step, first.vectors.len()), (rank.step, rank.vectors.len()));
            return Err(format!("rank 0 has {} groups at step {}, rank {index} {} at step {}", a.1, a.0, b.1, b.0));
        }
    }
    Ok(())
}

/// By the files' own word; none where they do not tell.
fn mapped(ranks: &[Rank]) -> Option<Told<Pieces>> {
    let mut found = Pieces::new();
    for (rank, of) in ranks.iter().enumerate() {
        for (vector, vectors) in of.vectors.iter().enumerate() {
            let mapping = vectors.mapping.as_ref()?;
            if let Some(name) = overlapping(mapping) {
                return Some(Err(format!("two parameters, one of them {name}, lie in one place of rank {rank}")));
            }
            for (name, range) in mapping.iter().filter(|(_, range)| !range.is_empty()) {
                found.entry(bare(name).to_owned()).or_default().push(Piece { rank, vector, range: range.clone() });
            }
        }
    }
    Some(Ok(found))
}

fn overlapping(mapping: &[(String, Range<usize>)]) -> Option<&str> {
    let mut ordered: Vec<&(String, Range<usize>)> = mapping.iter().collect();
    ordered.sort_by_key(|(_, range)| (range.start, range.end));
    ordered.windows(2).find(|pair| pair[0].1.end > pair[1].1.start).map(|pair| pair[1].0.as_str())
}

/// By the order of NeoX, whatever of its variants fills the vectors best.
fn cut(ranks: &[Rank], config: &Config) -> Told<Pieces> {
    let lengths: Vec<usize> =
        (0..ranks[0].vectors.len()).map(|group| stretches(ranks, group).map(|piece| piece.range.len()).sum()).collect();
    let [decaying, plain] = lengths[..] else {
        return Err(format!("the state has {} groups and does not say where parameters lie; NeoX makes two", lengths.len()));
    };
    let alignment = 2 * ranks.iter().flat_map(|rank| &rank.partitions).copied().max().unwrap_or(1).max(ranks.len() as i64) as usize;
    let over = |order: &Order, length: usize| length.checked_sub(total(order)).filter(|&over| over < alignment);
    let fits = |orders: &[Order; 2]| over(&orders[0], decaying).zip(over(&orders[1], plain)).map(|(a, b)| a + b);
    let best = candidates(config).into_iter().filter_map(|orders| Some((fits(&orders)?, orders))).min_by_key(|(over, _)| *over);
    let (_, orders) = best.ok_or_else(|| misfit(config, decaying, plain))?;
    Ok(orders.iter().enumerate().flat_map(|(group, order)| placed(ranks, group, order)).collect())
}

fn misfit(config: &Config, decaying: usize, plain: usize) -> String {
    let expected = candidates(config).into_iter().next().map(|orders| orders.map(|order| total(&order))).unwrap_or_default();
    let found = format!("the state has {decaying} weights that decay and {plain} that do not");
    format!("{found}; this configuration has {} and {} (norms with biases): it is the state of another model", expected[0], expected[1])
}

fn total(order: &Order) -> usize {
    order.iter().map(|(_, numel)| numel).sum()
}

/// A group's vectors, rank after rank.
fn stretches(ranks: &[Rank], vector: usize) -> impl Iterator<Item = Piece> {
    ranks.iter().enumerate().map(move |(rank, of)| Piece { rank, vector, range: 0..of.vectors[vector].len() })
}

/// Cuts a group's vectors into its parameters, one after the other, over the borders of ranks.
fn placed(ranks: &[Rank], group: usize, order: &Order) -> Pieces {
    let mut left: Vec<Piece> = stretches(ranks, group).collect();
    left.reverse();
    let mut take = |mut count: usize| {
        let mut taken = Vec::new();
        while let Some(piece) = left.last_mut().filter(|_| count > 0) {
            let end = piece.range.end.min(piece.range.start + count);
            taken.push(Piece { range: piece.range.start..end, ..piece.clone() });
            count -= end - piece.range.start;
            piece.range.start = end;
            if piece.range.is_empty() {
                left.pop();
            }
        }
        taken
    };
    order.iter().map(|(name, numel)| (name.clone(), take(*numel))).collect()
}
