//! What a model can leave beside tokens and their probabilities.

use clap::ValueEnum;

/// A kind of trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceKind {
    /// What the attention comes to: RAUQ, attention score, lookback ratio.
    Attention,
    /// Hidden states of the layers that --hidden-layers names, of the answer and of every sample.
    Hidden,
    /// Self-certainty and Rényi divergence of every token.
    Distribution,
    /// Log-probabilities of the answer without its prompt: one more pass.
    Unconditional,
    /// What the model says of its answer when asked: P(True), a named confidence, support of each sentence by each sample.
    Judged,
    /// All of them.
    All,
}

impl TraceKind {
    /// Whether `wanted` holds `kind`, or all.
    pub fn any(wanted: &[Self], kind: Self) -> bool {
        wanted.iter().any(|&chosen| chosen == kind || chosen == Self::All)
    }
}
