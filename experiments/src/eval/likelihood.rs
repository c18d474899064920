//! Log-likelihoods of many items: items that begin alike are run together, the beginning once, an item's context once for all its choices, and
//! items of like length side by side.

use std::collections::BTreeMap;

use anyhow::Result;
use coppice_models::Model;
use coppice_models::continuation::{Begun, Continued, Row};

use super::encode::Pair;

/// A beginning shorter than this is not worth a pass of its own, tokens.
const SHORTEST: usize = 16;
/// Tokens of items between two looks at what is done: what an interruption can cost.
const PORTION: usize = 1 << 14;

/// An item's pairs of context and continuation.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Items with the same value have the same description and examples.
    pub beginning: usize,
    /// Its pairs.
    pub pairs: Vec<Pair>,
}

/// Some rows of an item, and which of its pairs each continuation stands for.
struct Laid {
    item: usize,
    rows: Vec<Row>,
    pairs: Vec<Vec<usize>>,
    tokens: usize,
}

/// Scores all pairs of all items; `done` is told the number and the scores of every item of a portion as soon as they are there.
///
/// # Errors
/// When the model fails, or `done` does.
pub fn likelihoods(model: &Model, asked: &[Asked], mut done: impl FnMut(Vec<(usize, Vec<Continued>)>) -> Result<()>) -> Result<()> {
    for items in alike(asked) {
        let prefix = shared(asked, &items);
        let begun = Begun::new(model, &prefix)?;
        let mut laid: Vec<Laid> = items.iter().map(|&item| lay(asked, item, prefix.len())).collect();
        laid.sort_by_key(|laid| std::cmp::Reverse(laid.tokens));
        for portion in portions(laid) {
            done(score(&begun, &portion)?)?;
        }
    }
    Ok(())
}

/// Items by their beginning; those that were cut on the left begin like no other.
fn alike(asked: &[Asked]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<(bool, usize), Vec<usize>> = BTreeMap::new();
    for (item, one) in asked.iter().enumerate() {
        let cut = one.pairs.iter().any(|pair| pair.cut > 0);
        groups.entry((cut, if cut { 0 } else { one.beginning })).or_default().push(item);
    }
    groups.into_values().collect()
}

/// What all contexts of some items begin with, less their last tokens; nothing where it is short or there is but one context.
fn shared(asked: &[Asked], items: &[usize]) -> Vec<i64> {
    let mut contexts = items.iter().flat_map(|&item| &asked[item].pairs).map(|pair| &*pair.context);
    let Some(first) = contexts.next() else { return Vec::new() };
    let alike = |length: usize, other: &[i64]| {
        let common = first[..length].iter().zip(other).take_while(|(a, b)| a == b).count();
        common.min(other.len().saturating_sub(1))
    };
    let length = contexts.fold(first.len().saturating_sub(1), alike);
    if length < SHORTEST || items.len() < 2 { Vec::new() } else { first[..length].to_vec() }
}

/// An item's rows: one for each different context.
fn lay(asked: &[Asked], item: usize, prefix: usize) -> Laid {
    let mut laid = Laid { item, rows: Vec::new(), pairs: Vec::new(), tokens: 0 };
    for (number, pair) in asked[item].pairs.iter().enumerate() {
        let context = &pair.context[prefix..];
        let place = laid.rows.iter().position(|row| row.context == context).unwrap_or_else(|| {
            laid.rows.push(Row { context: context.to_vec(), continuations: Vec::new() });
            laid.pairs.push(Vec::new());
            laid.rows.len() - 1
        });
        laid.rows[place].continuations.push(pair.continuation.clone());
        laid.pairs[place].push(number);
    }
    laid.tokens = laid.rows.iter().map(Row::len).sum();
    laid
}

fn portions(laid: Vec<Laid>) -> Vec<Vec<Laid>> {
    let (mut portions, mut last, mut tokens) = (Vec::new(), Vec::new(), 0);
    for item in laid {
        if tokens >= PORTION {
            portions.push(std::mem::take(&mut last));
            tokens = 0;
        }
        tokens += item.tokens;
        last.push(item);
    }
    portions.push(last);
    portions
}

fn score(begun: &Begun, portion: &[Laid]) -> Result<Vec<(usize, Vec<Continued>)>> {
    let rows: Vec<Row> = portion.iter().flat_map(|laid| laid.rows.iter().cloned()).collect();
    let mut found = begun.continued(&rows)?.into_iter();
    Ok(portion.iter().map(|laid| (laid.item, in_order(laid, found.by_ref().take(laid.rows.len())))).collect())
}

/// The scores of an item's rows in the order of its pairs.
fn in_order(laid: &Laid, found: impl Iterator<Item = Vec<Continued>>) -> Vec<Continued> {
    let by_pair = laid.pairs.iter().zip(found).flat_map(|(pairs, scores)| pairs.iter().copied().zip(scores));
    by_pair.collect::<BTreeMap<usize, Continued>>().into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(beginning: usize, contexts: &[&[i64]], cut: usize) -> Asked {
        let pair = |context: &&[i64]| Pair { context: (*context).into(), continuation: vec![7, 8], cut };
        Asked { beginning, pairs: contexts.iter().map(pair).collect() }
    }

    #[test]
    fn a_common_beginning_is_found_and_leaves_every_context_a_token() {
        let long: Vec<i64> = (0..30).collect();
        let (short, other) = (&long[..20], [&long[..25], &[77, 78]].concat());
        let all = [asked(0, &[&long, short], 0), asked(0, &[&other], 0), asked(0, &[&long[5..]], 3)];
        assert_eq!(alike(&all), [vec![0, 1], vec![2]]);
        assert_eq!(shared(&all, &[0, 1]), &long[..19]);
        assert_eq!(shared(&all, &[0]), [0_i64; 0], "one item alone");
        assert_eq!(shared(&[asked(0, &[&long[..10]], 0), asked(0, &[&long[..12]], 0)], &[0, 1]), [0_i64; 0], "too short");
    }

    #[test]
    fn continuations_of_one_context_share_its_row() {
        let all = [asked(0, &[&[1, 2], &[1, 3], &[1, 2]], 0)];
        let laid = lay(&all, 0, 1);
        assert_eq!((laid.rows.len(), laid.pairs.clone()), (2, vec![vec![0, 2], vec![1]]));
        assert_eq!((laid.rows[0].context.clone(), laid.rows[0].continuations.len(), laid.tokens), (vec![2], 2, 5));
    }
}
