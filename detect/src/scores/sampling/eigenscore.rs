//! How much room the samples' hidden states take up: the determinant of their covariance.

use ndarray::{Array2, Axis};

use crate::eigen;
use crate::record::{Hidden, Sample};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Added to every eigenvalue, α of INSIDE.
const REGULARISATION: f64 = 1e-3;
/// Stands for an eigenvalue that rounding brought to zero or below, as in LM-Polygraph.
const ROUNDED_AWAY: f64 = 1e-10;

/// (1/M) Σ ln λ_k of the covariance, `[M, M]`, of the samples' mean hidden states, as INSIDE's own code computes it: each state centred on the mean
/// of its D entries, products divided by D − 1, 10⁻³ added to the diagonal. That code takes decimal logarithms: its score is this one / ln 10. The
/// layer is the middle one of those the record holds. INSIDE's feature clipping acts while generating and is not part of the score.
pub(super) struct EigenScore;

impl Scorer for EigenScore {
    fn card(&self) -> &'static Card {
        &Card {
            name: "eigenscore",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_HIDDEN],
            cost: Cost::Samples,
            citation: "Chen et al. 2024, INSIDE (arXiv 2402.03744), as in its own code: mean states, torch.cov",
            summary: "mean log eigenvalue of the covariance of the samples' mean hidden states",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let states = states(inputs::samples(case.record, 2)?, |hidden| &hidden.mean, "hidden[].mean of one layer and size")?;
        Ok(mean_log_eigenvalue(&states, states.ncols() as f64 - 1.0))
    }
}

/// One state of every sample at the middle layer of those it holds, `[samples, D]`.
pub(super) fn states(samples: &[Sample], of: fn(&Hidden) -> &Vec<f32>, field: &'static str) -> Result<Array2<f64>, Missing> {
    let first = samples.first().and_then(|sample| middle(&sample.hidden)).map_or((0, 0), |hidden| (hidden.layer, of(hidden).len()));
    let mut entries = Vec::with_capacity(samples.len() * first.1);
    for (index, sample) in samples.iter().enumerate() {
        let same = middle(&sample.hidden).filter(|hidden| (hidden.layer, of(hidden).len()) == first && first.1 > 0);
        entries.extend(of(same.ok_or(Missing::SampleField { field, index })?).iter().map(|&x| f64::from(x)));
    }
    Array2::from_shape_vec((samples.len(), first.1), entries).map_err(|_| Missing::Finite)
}

fn middle(hidden: &[Hidden]) -> Option<&Hidden> {
    let mut layers: Vec<&Hidden> = hidden.iter().collect();
    layers.sort_by_key(|hidden| hidden.layer);
    layers.get(layers.len() / 2).copied()
}

/// (1/M) Σ ln λ_k of Z J Zᵀ / `divisor` + αI for the states Z `[M, D]`, J centring each row.
pub(super) fn mean_log_eigenvalue(states: &Array2<f64>, divisor: f64) -> f64 {
    let means = states.mean_axis(Axis(1)).unwrap_or_default();
    let centred = states - &means.insert_axis(Axis(1));
    let covariance = centred.dot(&centred.t()) / divisor + Array2::<f64>::eye(states.nrows()) * REGULARISATION;
    let positive = |value: f64| if value <= 0.0 { ROUNDED_AWAY } else { value };
    let logs: Vec<f64> = eigen::symmetric(&covariance).values.into_iter().map(|value| positive(value).ln()).collect();
    inputs::mean(&logs)
}
