//! Attention of a response's tokens, reduced head by head: RAUQ, the attention score and the lookback ratio.
//!
//! Two numbers a head and token are enough for all three: how much the token attends to the whole prompt, and how much to itself. The tokens
//! that count are those from which another, or the end, was predicted: where a response ends at its longest or by a rule, its last token was
//! never run through the model, and running it for this alone would cost another step. lm-polygraph and Lookback Lens count the same.

use std::ops::RangeInclusive;

// L layers, H query heads, n response tokens.

/// RAUQ's weight of a token's own probability (0.2 for base models in lm-polygraph's `rauq.py`).
pub const RAUQ_ALPHA: f64 = 0.2;

/// Keeps the logarithm of a vanishing attention weight finite (lm-polygraph's `attention_score.py`).
const TINY: f64 = 1e-12;

/// What the attention of one response comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSummary {
    /// RAUQ's uncertainty `1 - mean ln c_t` of every layer of [`rauq_layers`], in the head of largest mean attention to the previous token;
    /// `c_1 = p_1`, `c_t = α p_t + (1 - α) a_t c_{t-1}` (arXiv 2505.20045; lm-polygraph 0.7 `rauq.py`). `a_t` is the attention to the
    /// previous token, `t - 1`, in the step that predicts token `t`: that token's attention to itself.
    pub rauq: Vec<f64>,
    /// Attention score of every layer, `[L]`, empty where no token counts: mean over heads of the sum over tokens of the logarithm of a
    /// token's attention to itself (LLM-Check; lm-polygraph 0.7 `attention_score.py` with `gen_only`, not negated).
    pub score: Vec<f64>,
    /// Lookback ratio of every head, `[L * H]`, layer by layer, empty where no token counts, mean over tokens: mean attention to a token of the prompt, over that
    /// plus the mean attention to a token of the response so far, itself included (Lookback Lens, arXiv 2407.07071).
    pub lookback: Vec<f64>,
}

/// Layers RAUQ looks at, of a model of `layers`: from `⌊n/3⌋` to `⌈2n/3⌉`, both included.
pub fn rauq_layers(layers: usize) -> RangeInclusive<usize> {
    layers / 3..=(2 * layers).div_ceil(3).min(layers.saturating_sub(1))
}

/// Running sums over the tokens of one response, `[L * H]` each.
#[derive(Debug)]
pub(crate) struct AttentionSums {
    prompt: f64,
    heads: usize,
    chosen: usize,
    observed: usize,
    own: Vec<f64>,      // attention of the last token to itself
    own_sum: Vec<f64>,  // over all tokens that predicted another
    own_logs: Vec<f64>, // of ln, over all tokens
    confidence: Vec<f64>,
    confidence_logs: Vec<f64>,
    lookback: Vec<f64>,
}

impl AttentionSums {
    /// For a prompt of `prompt` tokens in a model of `layers` of `heads` each.
    pub(crate) fn new(prompt: usize, layers: usize, heads: usize) -> Self {
        let zeros = || vec![0.0; layers * heads];
        Self {
            prompt: prompt as f64,
            heads,
            chosen: 0,
            observed: 0,
            own: zeros(),
            own_sum: zeros(),
            own_logs: zeros(),
            confidence: zeros(),
            confidence_logs: zeros(),
            lookback: zeros(),
        }
    }

    /// Goes on by a token of that log-probability; the one before it has been observed.
    pub(crate) fn choose(&mut self, logprob: f64) {
        let (first, p) = (self.chosen == 0, logprob.exp());
        for (head, &own) in self.own.iter().enumerate() {
            let inherited = if first { (1.0 - RAUQ_ALPHA) * p } else { (1.0 - RAUQ_ALPHA) * own * self.confidence[head] };
            self.confidence[head] = RAUQ_ALPHA * p + inherited;
            self.confidence_logs[head] += self.confidence[head].max(f64::MIN_POSITIVE).ln();
            self.own_sum[head] += if first { 0.0 } else { own };
        }
        self.chosen += 1;
    }

    /// Adds what the last chosen token attended to, `[L, H, 2]`: the whole prompt, and itself.
    pub(crate) fn observe(&mut self, weights: &[f32]) {
        self.observed += 1;
        for (head, pair) in weights.chunks_exact(2).enumerate() {
            let (told, own) = (f64::from(pair[0]), f64::from(pair[1]));
            self.own[head] = own;
            self.own_logs[head] += (own + TINY).ln();
            let (context, new) = (told / self.prompt, (1.0 - told).max(0.0) / self.observed as f64);
            self.lookback[head] += context / (context + new);
        }
    }

    /// What it comes to; none without tokens.
    pub(crate) fn summary(&self) -> Option<AttentionSummary> {
        let layers = self.own.len() / self.heads;
        let counted = |sums: &Vec<f64>| if self.observed > 0 { sums.clone() } else { Vec::new() };
        (self.chosen > 0).then(|| AttentionSummary {
            rauq: rauq_layers(layers).map(|layer| self.rauq(layer)).collect(),
            score: counted(&self.own_logs).chunks_exact(self.heads).map(|logs| logs.iter().sum::<f64>() / self.heads as f64).collect(),
            lookback: counted(&self.lookback).iter().map(|sum| sum / self.observed as f64).collect(),
        })
    }

    fn rauq(&self, layer: usize) -> f64 {
        let heads = layer * self.heads..(layer + 1) * self.heads;
        let first_of_largest = |best: usize, head: usize| if self.own_sum[head] > self.own_sum[best] { head } else { best };
        let head = heads.clone().fold(heads.start, first_of_largest);
        1.0 - self.confidence_logs[head] / self.chosen as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_third_of_the_layers_counts() {
        assert_eq!([24, 4, 3, 2, 1].map(rauq_layers), [8..=16, 1..=3, 1..=2, 0..=1, 0..=0]);
    }

    #[test]
    fn one_token_has_the_uncertainty_of_its_probability() {
        let mut sums = AttentionSums::new(3, 1, 2);
        sums.choose(-0.5);
        assert!(sums.summary().is_some_and(|summary| summary.score.is_empty() && summary.lookback.is_empty() && summary.rauq.len() == 1));
        sums.observe(&[0.5, 0.5, 1.0, 0.0]);
        let summary = sums.summary().expect("one token");
        assert!((summary.rauq[0] - 1.5).abs() < 1e-12);
        // Half of the attention on three tokens of the prompt, half on the one of the response.
        assert!((summary.lookback[0] - (0.5 / 3.0) / (0.5 / 3.0 + 0.5)).abs() < 1e-12 && (summary.lookback[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_vanishing_probability_stays_finite() {
        let mut sums = AttentionSums::new(1, 1, 1);
        for _ in 0..2 {
            sums.choose(-2000.0);
            sums.observe(&[1.0, 0.0]);
        }
        let AttentionSummary { rauq, score, lookback } = sums.summary().expect("two tokens");
        assert!([rauq, score, lookback].concat().iter().all(|value| value.is_finite()));
    }
}
