//! How far a distribution over the vocabulary is from the uniform one.

use tch::{Kind, Tensor};

use crate::error::Result;

// R rows, V vocabulary.

/// Divergences between the distributions of a response's tokens and the uniform one, nats, one entry a token; empty where not observed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Divergences {
    /// Self-certainty: the Kullback-Leibler divergence of the distribution from the uniform one, `-mean_v ln p_v - ln V` (arXiv 2502.18581).
    pub self_certainties: Vec<f64>,
    /// Rényi divergence of order 1/2 of the distribution, softened by temperature 2, from the uniform one: `ln V - 2 ln Σ_v √q_v`, `q ∝ √p`
    /// (arXiv 2212.09171). lm-polygraph's `renyi_neg.py` has `-ln V` for `ln V`: the same order of answers, lower by `2 ln V`.
    pub renyi: Vec<f64>,
}

/// The [`Divergences`] of the distributions that `logits [R, V]` (f32) stand for, one entry a row.
///
/// # Errors
/// When libtorch fails.
pub(crate) fn divergences(logits: &Tensor) -> Result<Divergences> {
    let vocabulary = (logits.size2()?.1 as f64).ln();
    let mass = |share: f64| values(&logits.f_mul_scalar(share)?.f_logsumexp([-1].as_slice(), false)?);
    let means = values(&logits.f_mean_dim([-1].as_slice(), false, Kind::Float)?)?;
    let (whole, half, quarter) = (mass(1.0)?, mass(0.5)?, mass(0.25)?);
    Ok(Divergences {
        self_certainties: whole.iter().zip(means).map(|(normaliser, mean)| normaliser - mean - vocabulary).collect(),
        renyi: half.iter().zip(quarter).map(|(half, quarter)| vocabulary + half - 2.0 * quarter).collect(),
    })
}

fn values(row: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::<f64>::try_from(row.f_to_kind(Kind::Double)?)?)
}
