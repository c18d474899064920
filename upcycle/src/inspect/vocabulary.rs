//! Which experts take which ids of the vocabulary: vocabulary specialisation as OLMoE defines it (arXiv 2409.02060, section 5.4),
//! `routings of id x to expert i / all routings of x`.
//!
//! Only pairs that occur are held: at most `min(V N, tokens K)` entries a layer, twice (input and predicted ids).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::report::TokenShare;

/// An id with fewer routings says nothing and is left out of means and lists.
pub(super) const FEWEST_ROUTINGS: u64 = 8;
/// Tokens listed of each expert.
const LISTED: usize = 10;

/// Routings by id and expert.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<(u32, u32), u64>);

impl Table {
    /// Counts one routing of `id` to `expert`.
    pub(super) fn add(&mut self, id: u32, expert: u32) {
        *self.0.entry((id, expert)).or_insert(0) += 1;
    }

    /// The experts of every id with enough routings.
    fn rows(&self) -> BTreeMap<u32, Row> {
        let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
        for (&(id, expert), &count) in &self.0 {
            let row = rows.entry(id).or_default();
            row.total += count;
            row.counts.push((expert, count));
        }
        rows.retain(|_, row| row.total >= FEWEST_ROUTINGS);
        rows
    }

    /// Mean over ids, weighted by their routings, of the largest share one expert has of an id's; none where no id has enough.
    pub(super) fn specialisation(&self) -> Option<f64> {
        let rows = self.rows();
        let total: u64 = rows.values().map(|row| row.total).sum();
        let largest: u64 = rows.values().map(Row::largest).sum();
        (total > 0).then(|| largest as f64 / total as f64)
    }

    /// By expert of `experts`, the ids it takes most of, largest share first, then the more frequent; `text` names an id.
    pub(super) fn top(&self, experts: usize, text: &dyn Fn(u32) -> String) -> Vec<Vec<TokenShare>> {
        let mut taken: Vec<Vec<(f64, u64, u32)>> = vec![Vec::new(); experts];
        for (id, row) in self.rows() {
            for (expert, count) in row.counts {
                taken[expert as usize].push((count as f64 / row.total as f64, row.total, id));
            }
        }
        taken.into_iter().map(|list| listed(list, text)).collect()
    }
}

/// One id's routings.
#[derive(Default)]
struct Row {
    total: u64,
    counts: Vec<(u32, u64)>,
}

impl Row {
    fn largest(&self) -> u64 {
        self.counts.iter().map(|&(_, count)| count).max().unwrap_or(0)
    }
}

fn listed(mut list: Vec<(f64, u64, u32)>, text: &dyn Fn(u32) -> String) -> Vec<TokenShare> {
    list.sort_by(|a, b| b.0.total_cmp(&a.0).then((Reverse(a.1), a.2).cmp(&(Reverse(b.1), b.2))));
    list.into_iter().take(LISTED).map(|(share, count, id)| TokenShare { token: text(id), share, count }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(u32, u32, u64)]) -> Table {
        let mut table = Table::default();
        entries.iter().for_each(|&(id, expert, count)| (0..count).for_each(|_| table.add(id, expert)));
        table
    }

    #[test]
    fn the_mean_is_weighted_and_rare_ids_are_left_out() {
        let counts = table(&[(5, 0, 9), (5, 1, 3), (6, 1, 4), (6, 0, 4), (7, 0, 7)]);
        assert_eq!(counts.specialisation(), Some(f64::from(9 + 4) / f64::from(12 + 8)));
        assert_eq!(table(&[(7, 0, 7)]).specialisation(), None);
    }

    #[test]
    fn experts_list_what_they_take_most_of() {
        let top = table(&[(5, 0, 9), (5, 1, 3), (6, 1, 8), (8, 0, 18), (8, 1, 6)]).top(3, &|id| format!("<{id}>"));
        let share = |token: &str, share, count| TokenShare { token: token.into(), share, count };
        assert_eq!(top[0], [share("<8>", 0.75, 24), share("<5>", 0.75, 12)]);
        assert_eq!(top[1], [share("<6>", 1.0, 8), share("<8>", 0.25, 24), share("<5>", 0.25, 12)]);
        assert_eq!(top[2], []);
    }
}
