//! Parting labelled responses by whole groups, so that nothing about a person of the fitted part is asked in the judged one.

use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::metrics::Groups;

/// Two parts of the items: the first groups of a random order until they hold at least `share` of the items, and the others.
pub(super) fn two_parts(groups: &Groups, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<&Vec<usize>> = groups.members().iter().collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let wanted = share * groups.n_items() as f64;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for group in order {
        let part = if (first.len() as f64) < wanted { &mut first } else { &mut second };
        part.extend_from_slice(group);
    }
    (first, second)
}

/// One item of each group, drawn at random.
pub(super) fn one_of_each(groups: &Groups, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    groups.members().iter().filter_map(|group| group.choose(&mut rng).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sixty() -> Groups {
        Groups::new((0..60).map(|item| item / 6))
    }

    #[test]
    fn groups_stay_whole_and_nothing_is_lost() {
        let people = |items: &[usize]| items.iter().map(|item| item / 6).collect::<BTreeSet<_>>();
        let (first, second) = two_parts(&sixty(), 0.5, 1);
        assert_eq!((first.len(), second.len()), (30, 30));
        assert!(people(&first).is_disjoint(&people(&second)));
        assert_eq!([first, second].concat().into_iter().collect::<BTreeSet<_>>().len(), 60);
    }

    #[test]
    fn one_of_each_group() {
        let drawn = one_of_each(&sixty(), 2);
        assert_eq!(drawn.iter().map(|item| item / 6).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_ne!(one_of_each(&sixty(), 3), drawn);
    }
}
