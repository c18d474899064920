//! Responses that belong together: the questions about one person, the claims of one answer. They are right or wrong together, so drawing
//! them one by one would make intervals too narrow; the cluster bootstrap (Field and Welsh 2007) draws whole groups.

use std::collections::HashMap;
use std::hash::Hash;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bootstrap::{Resampled, resample_by};
use super::{Interval, MetricError, check_confidence};

/// Items parted into groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// The items of every group, groups in order of first appearance.
    members: Vec<Vec<usize>>,
    n_items: usize,
}

impl Groups {
    /// Items of one key are one group.
    pub fn new<K: Eq + Hash>(keys: impl IntoIterator<Item = K>) -> Self {
        let (mut members, mut places, mut n_items) = (Vec::<Vec<usize>>::new(), HashMap::new(), 0);
        for key in keys {
            let place = *places.entry(key).or_insert(members.len());
            if place == members.len() {
                members.push(Vec::new());
            }
            members[place].push(n_items);
            n_items += 1;
        }
        Self { members, n_items }
    }

    /// Every item a group of its own.
    pub fn single(n_items: usize) -> Self {
        Self::new(0..n_items)
    }

    /// The items of every group.
    pub fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// Some of the items, numbered by their place in `items`, in the groups they are of. An item there is none of is a group of its own.
    #[must_use]
    pub fn within(&self, items: &[usize]) -> Self {
        let mut group_of = vec![None; self.n_items];
        self.members.iter().enumerate().for_each(|(group, members)| members.iter().for_each(|&item| group_of[item] = Some(group)));
        let key = |&item: &usize| group_of.get(item).copied().flatten().ok_or(item);
        Self::new(items.iter().map(key))
    }

    /// How many groups.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many items in all.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// The items of as many groups as there are, drawn with replacement.
    fn draw(&self, seed: u64, stream: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        (0..self.len()).flat_map(|_| self.members[rng.random_range(0..self.len())].iter().copied()).collect()
    }
}

/// As [`resample`](super::resample), drawing groups. With every item a group of its own it draws the same items.
///
/// # Errors
/// As [`resample`](super::resample).
pub fn resample_groups<const K: usize>(
    groups: &Groups,
    resamples: usize,
    seed: u64,
    statistics: impl Fn(&[usize]) -> [Option<f64>; K] + Sync,
) -> Result<[Result<Resampled, MetricError>; K], MetricError> {
    resample_by(groups.n_items, resamples, |stream| groups.draw(seed, stream), statistics)
}

/// Percentile interval of one statistic over draws of groups.
///
/// # Errors
/// As [`bootstrap`](super::bootstrap).
pub fn cluster_bootstrap(
    groups: &Groups,
    resamples: usize,
    confidence: f64,
    seed: u64,
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
) -> Result<Interval, MetricError> {
    check_confidence(confidence)?;
    let [resampled] = resample_groups(groups, resamples, seed, |items| [statistic(items)])?;
    resampled?.percentile(confidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bootstrap;

    fn mean(values: &[f64]) -> impl Fn(&[usize]) -> Option<f64> + Sync {
        move |items| Some(items.iter().map(|&item| values[item]).sum::<f64>() / items.len() as f64)
    }

    #[test]
    fn items_of_one_key_are_one_group() {
        let groups = Groups::new(["b", "a", "b"]);
        assert_eq!((groups.members(), groups.len(), groups.n_items()), ([vec![0, 2], vec![1]].as_slice(), 2, 3));
    }

    #[test]
    fn some_items_keep_their_groups() {
        let groups = Groups::new(["a", "b", "a", "b"]).within(&[3, 0, 2, 9]);
        assert_eq!((groups.members(), groups.n_items()), ([vec![0], vec![1, 2], vec![3]].as_slice(), 4));
    }

    #[test]
    fn groups_of_one_are_the_plain_bootstrap() {
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let plain = bootstrap(30, 200, 0.9, 4, mean(&values));
        assert_eq!(cluster_bootstrap(&Groups::single(30), 200, 0.9, 4, mean(&values)), plain);
    }

    #[test]
    fn repeating_every_item_does_not_narrow_the_interval() {
        // 100 values, each four times: the standard error stays 0.05, where drawing the 400 items would halve it.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i / 4 % 2)).collect();
        let found = cluster_bootstrap(&Groups::new((0..400).map(|i| i / 4)), 4000, 0.95, 7, mean(&values)).expect("defined");
        assert!((found.low - (0.5 - 1.96 * 0.05)).abs() < 0.012 && (found.high - (0.5 + 1.96 * 0.05)).abs() < 0.012, "{found:?}");
    }

    #[test]
    fn what_cannot_be_resampled_is_named() {
        assert_eq!(cluster_bootstrap(&Groups::single(0), 10, 0.9, 1, |_| Some(0.0)), Err(MetricError::Empty));
        assert!(matches!(cluster_bootstrap(&Groups::single(3), 0, 0.9, 1, |_| Some(0.0)), Err(MetricError::Setting { .. })));
    }
}
