//! Reading numbers back: JSON has no NaN, `serde_json` writes non-finite numbers as `null`.

use serde::{Deserialize, Deserializer};

/// Reads a number, with `null` as NaN.
pub(super) fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Reads rows of numbers, with `null` as NaN.
pub(super) fn rows_null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<f64>>, D::Error> {
    let rows: Vec<Vec<Option<f64>>> = Vec::deserialize(deserializer)?;
    let fill = |row: Vec<Option<f64>>| row.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect();
    Ok(rows.into_iter().map(fill).collect())
}

/// Reads a row of numbers, with `null` as NaN.
pub(super) fn row_null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let row: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
    Ok(row.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

/// What a number is whose key is absent.
pub(super) fn nan() -> f64 {
    f64::NAN
}
