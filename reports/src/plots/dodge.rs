//! Moving marks of (nearly) the same place apart, so that each can be seen.

/// Columns closer than this, in units, are moved apart.
const CLOSE: i32 = 34;

/// How far apart they are moved.
const APART: i32 = 30;

/// How far a whole run of them is spread at most, so that many stay within the picture.
const SPREAD: i32 = 120;

/// Moves columns that are closer than [`CLOSE`] apart, each run of them around its middle; their order is kept.
pub(crate) fn apart(columns: &[i32]) -> Vec<i32> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|place| columns.get(*place));
    let near = |a: &usize, b: &usize| columns.get(*b).zip(columns.get(*a)).is_some_and(|(b, a)| b - a < CLOSE);
    let mut moved = columns.to_vec();
    for run in order.chunk_by(near) {
        let middle = run.iter().filter_map(|place| columns.get(*place)).sum::<i32>() / run.len() as i32;
        let gaps = run.len() as i32 - 1;
        let step = APART.min(SPREAD / gaps.max(1)).max(1);
        let first = middle - gaps * step / 2;
        for (step, column) in run.iter().zip((first..).step_by(step as usize)) {
            if let Some(slot) = moved.get_mut(*step).filter(|_| run.len() > 1) {
                *slot = column;
            }
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn columns_at_one_cost_stand_side_by_side() {
        assert_eq!(apart(&[100, 102, 400]), [86, 116, 400]);
        assert_eq!(apart(&[400, 100]), [400, 100]);
        assert_eq!(apart(&[200; 13]).iter().max(), Some(&260)); // many share 120 units
        assert!(apart(&[]).is_empty());
    }
}
