//! Parts of the records that learners are fitted on and judged on in turn. Records of one group (the questions about one person) stay together:
//! a probe that has seen the person in one question is not judged on another question about that person.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::metrics::Groups;

/// The fold, 0 to `n_folds` − 1, of every item: whole groups, drawn by seed, positives and items shared out as evenly as groups allow.
pub fn folds(groups: &Groups, positive: &[bool], n_folds: usize, seed: u64) -> Vec<usize> {
    let n_folds = n_folds.max(1);
    let mut order: Vec<&Vec<usize>> = groups.members().iter().collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let positives = |members: &[usize]| members.iter().filter(|&&item| positive.get(item) == Some(&true)).count();
    order.sort_by_key(|members| std::cmp::Reverse((positives(members), members.len())));
    let (mut found, mut filled) = (vec![0; groups.n_items()], vec![(0, 0); n_folds]);
    for members in order {
        // Groups with positives go where positives are fewest, the others where items are.
        let deal = |&fold: &usize| if positives(members) > 0 { filled[fold] } else { (filled[fold].1, 0) };
        let emptiest = (0..n_folds).min_by_key(deal).unwrap_or(0);
        filled[emptiest].0 += positives(members);
        filled[emptiest].1 += members.len();
        members.iter().for_each(|&item| found[item] = emptiest);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positives_and_items_are_shared_out() {
        let positive: Vec<bool> = (0..100).map(|i| i < 20).collect();
        let found = folds(&Groups::single(100), &positive, 5, 3);
        for fold in 0..5 {
            let members: Vec<usize> = (0..100).filter(|&i| found[i] == fold).collect();
            assert_eq!((members.len(), members.iter().filter(|&&i| positive[i]).count()), (20, 4));
        }
        assert_ne!(folds(&Groups::single(100), &positive, 5, 4), found);
        // Positives that do not divide evenly leave the folds of one size all the same.
        let found = folds(&Groups::single(51), &positive[10..61], 3, 0);
        assert!((0..3).all(|fold| found.iter().filter(|&&other| other == fold).count() == 17), "{found:?}");
    }

    proptest! {
        #[test]
        fn groups_stay_together(keys in prop::collection::vec(0u8..12, 0..60), n_folds in 0usize..6, seed in any::<u64>()) {
            let found = folds(&Groups::new(keys.iter()), &[], n_folds, seed);
            for (i, a) in keys.iter().enumerate() {
                prop_assert!(keys.iter().zip(&found).all(|(b, &fold)| a != b || fold == found[i]));
            }
        }
    }
}
