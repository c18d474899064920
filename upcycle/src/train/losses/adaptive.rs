//! A coefficient of the balance loss for each layer that follows how unbalanced the layer is (Skywork-MoE, arXiv 2406.06563).

use serde::{Deserialize, Serialize};

use crate::train::error::Result;
use crate::train::recipe::{coefficient, outside, require};

/// After every step `α ← β α + (1 - β) min(ξ d, α_max)`, with `d` the share of the layer's assignments beyond the experts' room: the
/// capacity of the training where there is one, else that of factor 1. It starts at the recipe's `balance_coefficient`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// `ξ`: coefficient per share of assignments beyond the room.
    pub xi: f64,
    /// `α_max`: what the coefficient goes to at most.
    pub alpha_max: f64,
    /// `β`: how much of the coefficient a step keeps.
    pub beta: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { xi: 0.2, alpha_max: 0.01, beta: 0.99 }
    }
}

impl Adaptive {
    /// The coefficient after a step with `alpha` in which the share `beyond` (`d`) of the assignments was beyond the room.
    pub fn next(&self, alpha: f64, beyond: f64) -> f64 {
        self.beta * alpha + (1.0 - self.beta) * (self.xi * beyond).min(self.alpha_max)
    }

    /// Refuses values no coefficient can be computed from.
    ///
    /// # Errors
    /// Names the key, its value and its bounds.
    pub fn check(&self) -> Result<()> {
        coefficient("losses.adaptive.xi", self.xi)?;
        coefficient("losses.adaptive.alpha_max", self.alpha_max)?;
        require((0.0..1.0).contains(&self.beta), || outside("losses.adaptive.beta", self.beta, "0 to 1, below 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_by_hand() {
        let adaptive = Adaptive { xi: 0.5, alpha_max: 0.1, beta: 0.5 };
        let mut alpha = 0.02;
        // min(0.5 * 0.1, 0.1) = 0.05; min(0.5 * 0.6, 0.1) = 0.1; 0.
        for (beyond, expected) in [(0.1, 0.035), (0.6, 0.0675), (0.0, 0.03375)] {
            alpha = adaptive.next(alpha, beyond);
            assert!((alpha - expected).abs() < 1e-15, "{alpha} is not {expected}");
        }
    }

    #[test]
    fn the_papers_defaults() {
        let adaptive = Adaptive::default();
        assert!((adaptive.next(0.01, 1.0) - 0.01).abs() < 1e-15);
        assert!((adaptive.next(0.0, 0.02) - 0.01 * 0.2 * 0.02).abs() < 1e-15);
        assert!(Adaptive { beta: 1.0, ..adaptive }.check().unwrap_err().to_string().contains("losses.adaptive.beta is 1"));
    }
}
