//! From one row of logits to one token: penalties, temperature, truncation, draw.
//!
//! The order is transformers': repetition penalty (CTRL, arXiv 1909.05858), temperature, top-k, top-p (1904.09751), min-p (2407.01082).

use rand::Rng;

use crate::error::{Error, Result};
use crate::init::unit;

/// How a token is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Keeps the `k` most probable tokens.
    pub top_k: Option<usize>,
    /// Keeps the smallest set of most probable tokens whose mass reaches this.
    pub top_p: Option<f64>,
    /// Keeps tokens at least this share as probable as the most probable one.
    pub min_p: Option<f64>,
    /// Divides positive and multiplies negative logits of tokens seen before; 1 changes nothing.
    pub repetition_penalty: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: None, min_p: None, repetition_penalty: 1.0 }
    }
}

impl Sampling {
    /// Refuses settings that mean nothing.
    ///
    /// # Errors
    /// Names the setting and its range.
    pub fn check(&self) -> Result<()> {
        let share = |name: &str, value: Option<f64>| match value {
            Some(value) if !(value > 0.0 && value <= 1.0) => Err(Error::Input(format!("{name} {value} is outside 0 (exclusive) to 1"))),
            _ => Ok(()),
        };
        share("top-p", self.top_p)?;
        share("min-p", self.min_p)?;
        let usable = |value: f64, zero: bool| value.is_finite() && (value > 0.0 || zero && value == 0.0);
        if !usable(self.temperature, true) {
            return Err(Error::Input(format!("temperature {} is not a number from 0 up", self.temperature)));
        }
        if !usable(self.repetition_penalty, false) {
            return Err(Error::Input(format!("repetition penalty {} is not a positive number", self.repetition_penalty)));
        }
        if self.top_k == Some(0) {
            return Err(Error::Input("top-k 0 keeps no token; leave it out to keep all".into()));
        }
        Ok(())
    }

    /// One token id from `logits [V]`, which are changed in place; `seen` are the ids the penalty applies to.
    pub fn choose(&self, logits: &mut [f32], seen: &[i64], rng: &mut impl Rng) -> i64 {
        self.penalise(logits, seen);
        if self.temperature == 0.0 {
            return argmax(logits);
        }
        let mut kept = self.truncate(logits);
        let best = kept.iter().map(|&(logit, _)| logit).fold(f64::NEG_INFINITY, f64::max);
        for entry in &mut kept {
            entry.0 = (entry.0 - best).exp();
        }
        self.truncate_mass(&mut kept);
        draw(&kept, rng)
    }

    fn penalise(&self, logits: &mut [f32], seen: &[i64]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let mut ids = seen.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let penalty = self.repetition_penalty as f32;
        for id in ids {
            let logit = &mut logits[id as usize];
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }

    /// Logits over temperature with their ids: all possible tokens, or the top `k` of them.
    fn truncate(&self, logits: &[f32]) -> Vec<(f64, i64)> {
        let possible = logits.iter().enumerate().filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        let mut kept: Vec<_> = possible.map(|(id, &logit)| (f64::from(logit) / self.temperature, id as i64)).collect();
        if let Some(k) = self.top_k.filter(|&k| k < kept.len()) {
            kept.select_nth_unstable_by(k, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            kept.truncate(k);
        }
        kept
    }

    /// Cuts the unnormalised probabilities by mass (top-p), then by share of the largest (min-p).
    fn truncate_mass(&self, kept: &mut Vec<(f64, i64)>) {
        if let Some(p) = self.top_p {
            kept.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let limit = p * kept.iter().map(|&(mass, _)| mass).sum::<f64>();
            let reached = kept.iter().scan(0.0, |mass, entry| Some(std::mem::replace(mass, *mass + entry.0)));
            let enough = reached.take_while(|&before| before < limit).count();
            kept.truncate(enough.max(1));
        }
        if let Some(share) = self.min_p {
            let best = kept.iter().map(|&(mass, _)| mass).fold(0.0, f64::max);
            kept.retain(|&(mass, _)| mass >= share * best);
        }
    }
}

fn argmax(logits: &[f32]) -> i64 {
    let best = logits.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(id, _)| id as i64)
}

fn draw(kept: &[(f64, i64)], rng: &mut impl Rng) -> i64 {
    let mut left = unit(rng) * kept.iter().map(|&(mass, _)| mass).sum::<f64>();
    for &(mass, id) in kept {
        left -= mass;
        if left <= 0.0 {
            return id;
        }
    }
    kept.last().map_or(0, |&(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::stream;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn shares(sampling: &Sampling) -> Vec<f64> {
        let mut rng = stream(1, "shares");
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[sampling.choose(&mut LOGITS.clone(), &[], &mut rng) as usize] += 1.0 / 20_000.0;
        }
        counts.to_vec()
    }

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / total).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.015), "{found:?} against {expected:?}");
    }

    #[test]
    fn temperature_one_draws_the_softmax() {
        close(&shares(&Sampling { temperature: 1.0, ..Sampling::default() }), &softmax(&[0.0, 2.0, 1.0, -1.0]));
    }

    #[test]
    fn temperature_divides_the_logits() {
        close(&shares(&Sampling { temperature: 2.0, ..Sampling::default() }), &softmax(&[0.0, 1.0, 0.5, -0.5]));
    }

    #[test]
    fn truncations_keep_the_head() {
        let head = softmax(&[2.0, 1.0]);
        let expected = [0.0, head[0], head[1], 0.0];
        close(&shares(&Sampling { temperature: 1.0, top_k: Some(2), ..Sampling::default() }), &expected);
        close(&shares(&Sampling { temperature: 1.0, top_p: Some(0.7), ..Sampling::default() }), &expected);
        close(&shares(&Sampling { temperature: 1.0, min_p: Some(0.3), ..Sampling::default() }), &expected);
    }

    #[test]
    fn zero_temperature_takes_the_first_of_the_largest() {
        let greedy = Sampling::default();
        assert_eq!(greedy.choose(&mut [1.0, 3.0, 3.0], &[], &mut stream(0, "")), 1);
    }

    #[test]
    fn repetition_is_penalised_on_both_signs() {
        let sampling = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        let mut logits = [2.0, -2.0, 1.5];
        assert_eq!(sampling.choose(&mut logits, &[0, 1, 0], &mut stream(0, "")), 2);
        assert_eq!(logits, [1.0, -4.0, 1.5]);
    }

    #[test]
    fn a_masked_token_is_never_drawn() {
        let sampling = Sampling { temperature: 5.0, ..Sampling::default() };
        let mut rng = stream(2, "masked");
        assert!((0..500).all(|_| sampling.choose(&mut [0.0, f32::NEG_INFINITY, 0.0], &[], &mut rng) != 1));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let bad = |sampling: Sampling| assert!(sampling.check().is_err(), "{sampling:?}");
        bad(Sampling { temperature: f64::NAN, ..Sampling::default() });
        bad(Sampling { temperature: -1.0, ..Sampling::default() });
        bad(Sampling { top_k: Some(0), ..Sampling::default() });
        bad(Sampling { top_p: Some(1.5), ..Sampling::default() });
        bad(Sampling { min_p: Some(0.0), ..Sampling::default() });
        bad(Sampling { repetition_penalty: 0.0, ..Sampling::default() });
    }
}
