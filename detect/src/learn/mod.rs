//! The few learners that learned scores are made of: a logistic regression, a small network, Gaussians, principal components.
//!
//! They are small because the data are: some hundred to some thousand records of one model. Everything is deterministic by seed, keeps to the
//! CPU and serialises to JSON, long lists of numbers as base64.

mod cholesky;
pub mod folds;
pub mod gaussian;
pub mod logistic;
pub mod mlp;
pub mod packed;
pub mod pca;
pub mod standardise;

use ndarray::{ArrayView2, Axis};

/// Why nothing could be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Too few records have what the fit reads.
    #[error("{found} records have what it learns from; at least {needed} are needed{}", because(.lacking))]
    TooFew {
        /// How many the fit needs.
        needed: usize,
        /// How many there are.
        found: usize,
        /// What the first of the others lacks.
        lacking: Option<String>,
    },
    /// Nothing to tell apart.
    #[error("all {items} records are {class}; a fit needs both classes")]
    SingleClass {
        /// How many.
        items: usize,
        /// What they all are.
        class: &'static str,
    },
    /// Two records cannot come from one model.
    #[error("record `{id}` has {found} numbers where those before it have {expected}; a fit needs records of one model")]
    Width {
        /// The record that differs.
        id: String,
        /// Numbers of the records before it.
        expected: usize,
        /// Its numbers.
        found: usize,
    },
    /// NaN or infinite.
    #[error("{0} has a number that is not finite")]
    NotFinite(String),
    /// A table and its labels do not match.
    #[error("{rows} rows of features but {labels} labels")]
    Lengths {
        /// Rows of the table.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// A setting outside its range.
    #[error("{name} is {value}; expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its range.
        expected: &'static str,
    },
    /// The optimiser did not settle.
    #[error("the fit did not converge in {0} steps")]
    NotConverged(usize),
    /// A covariance no jitter makes invertible.
    #[error("the covariance of the states is not positive definite even with {0:e} added to its diagonal")]
    NotPositiveDefinite(f64),
    /// What it learns from is given neither way.
    #[error("{0}")]
    Unfit(String),
}

fn because(lacking: &Option<String>) -> String {
    lacking.as_ref().map_or(String::new(), |what| format!(" (others lack {what})"))
}

/// Equal lengths, finite numbers, both classes. Returns how many are of the positive class.
pub(crate) fn check_classes(rows: ArrayView2<'_, f64>, positive: &[bool]) -> Result<usize, FitError> {
    if rows.nrows() != positive.len() {
        return Err(FitError::Lengths { rows: rows.nrows(), labels: positive.len() });
    }
    check_finite(rows)?;
    match positive.iter().filter(|&&positive| positive).count() {
        0 => Err(FitError::SingleClass { items: positive.len(), class: "of the negative class" }),
        all if all == positive.len() => Err(FitError::SingleClass { items: all, class: "of the positive class" }),
        some => Ok(some),
    }
}

/// Every number is finite; else the row is named.
pub(crate) fn check_finite(rows: ArrayView2<'_, f64>) -> Result<(), FitError> {
    match rows.axis_iter(Axis(0)).position(|row| !row.iter().all(|value| value.is_finite())) {
        Some(row) => Err(FitError::NotFinite(format!("row {row} of the features"))),
        None => Ok(()),
    }
}
