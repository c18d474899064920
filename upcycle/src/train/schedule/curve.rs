//! The curve of the StableLM 2 report (arXiv 2402.17834, section 2.3): a cosine that is left after a quarter of its period, where it is
//! steepest, for an inverse square root that goes on with the same value and slope and so never needs to know the last step.

use std::f64::consts::PI;

/// The curve after its warm-up; `steps` is `N`, a whole period of the cosine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hybrid {
    pub(super) peak: f64,
    pub(super) floor: f64,
    pub(super) steps: f64,
}

impl Hybrid {
    /// The rate at step `i`: `m + (M − m)/2 · (1 + cos(2πi/N))` up to `N/4`, `α/√(i + β)` from there.
    pub(super) fn rate(self, i: f64) -> f64 {
        if i <= self.steps / 4.0 {
            return self.floor + 0.5 * (self.peak - self.floor) * (1.0 + (2.0 * PI * i / self.steps).cos());
        }
        let (alpha, beta) = self.tail();
        alpha / (i + beta).sqrt()
    }

    /// `α` and `β`. At `N/4` the cosine's value is `v = (M + m)/2` and its slope `−(M − m)π/N`; that of the root is `−v / 2(N/4 + β)`.
    fn tail(self) -> (f64, f64) {
        let value = 0.5 * (self.peak + self.floor);
        let slope = (self.peak - self.floor) * PI / self.steps;
        let under_root = value / (2.0 * slope);
        (value * under_root.sqrt(), under_root - self.steps / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_numbers() {
        let (alpha, beta) = Hybrid { peak: 1e-3, floor: 1e-4, steps: 540_000.0 }.tail();
        assert!((alpha - 0.1260).abs() < 5e-5, "{alpha}");
        assert!((beta + 82_479.0).abs() < 0.5, "{beta}");
    }
}
