//! Hidden states of a response after one layer, reduced to four vectors.

// D hidden.

/// Hidden states after a layer's residual addition (before the model's final norm), `[D]` each; empty where there is no such token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HiddenSummary {
    /// The layer, from 0.
    pub layer: usize,
    /// Mean over the response's tokens.
    pub mean: Vec<f32>,
    /// At the response's last token.
    pub last: Vec<f32>,
    /// At the token before it; the prompt's last, where the response has but one.
    pub before_last: Vec<f32>,
    /// At the prompt's last token.
    pub prompt: Vec<f32>,
}

/// One layer's states of one response, summed as they appear.
#[derive(Debug)]
pub(crate) struct HiddenSums {
    summary: HiddenSummary,
    sum: Vec<f64>,
    tokens: usize,
}

impl HiddenSums {
    /// Begins with the state `[D]` of the prompt's last token.
    pub(crate) fn new(layer: usize, prompt: &[f32]) -> Self {
        Self {
            summary: HiddenSummary { layer, prompt: prompt.to_vec(), ..HiddenSummary::default() },
            sum: vec![0.0; prompt.len()],
            tokens: 0,
        }
    }

    /// Adds the state `[D]` of the next token.
    pub(crate) fn observe(&mut self, state: &[f32]) {
        let summary = &mut self.summary;
        summary.before_last = if self.tokens == 0 { summary.prompt.clone() } else { std::mem::take(&mut summary.last) };
        summary.last = state.to_vec();
        self.sum.iter_mut().zip(state).for_each(|(sum, &value)| *sum += f64::from(value));
        self.tokens += 1;
    }

    /// What it comes to.
    pub(crate) fn into_summary(self) -> HiddenSummary {
        let mean = |sum: f64| (sum / self.tokens as f64) as f32;
        let mean = if self.tokens == 0 { Vec::new() } else { self.sum.iter().copied().map(mean).collect() };
        HiddenSummary { mean, ..self.summary }
    }
}
