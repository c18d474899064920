//! The Pareto front: arms of which none other is both as cheap and as good, and better in one of the two.

/// Places of the points `(cost, quality)` on the front, the cheapest first; of equal points the first.
pub(crate) fn front(points: &[(f64, f64)], higher_is_better: bool) -> Vec<usize> {
    let gain = |quality: f64| if higher_is_better { quality } else { -quality };
    let mut order: Vec<usize> = (0..points.len()).filter(|&at| points[at].0.is_finite() && points[at].1.is_finite()).collect();
    order.sort_by(|&a, &b| points[a].0.total_cmp(&points[b].0).then(gain(points[b].1).total_cmp(&gain(points[a].1))));
    let mut best = f64::NEG_INFINITY;
    order.retain(|&at| {
        let better = gain(points[at].1) > best;
        best = best.max(gain(points[at].1));
        better
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dominated_points_are_left_out() {
        let points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (4.0, 0.7), (3.0, 0.9), (f64::NAN, 1.0)];
        assert_eq!(front(&points, true), [0, 2, 4]);
        assert_eq!(front(&points, false), [0, 1]);
        assert_eq!(front(&[(1.0, 0.5), (1.0, 0.5)], true), [0]);
        assert!(front(&[], true).is_empty());
    }
}
