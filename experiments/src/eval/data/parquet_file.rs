//! Parquet, row by row, without Arrow; lists and structs become lists and objects.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::Rows;

/// Every record as a row. A file that breaks in the middle is refused whole: its pages depend on one another.
///
/// # Errors
/// When the file cannot be read or is no Parquet.
pub(super) fn read(path: &Path) -> Result<Rows, String> {
    let file = File::open(path).map_err(|error| format!("cannot read it: {error}"))?;
    let reader = SerializedFileReader::new(file).map_err(|error| broken(&error))?;
    let rows = reader.get_row_iter(None).map_err(|error| broken(&error))?;
    rows.enumerate().map(|(number, row)| Ok(object(row.map_err(|error| broken(&error))?.to_json_value(), number))).collect()
}

fn object(value: Value, number: usize) -> Result<super::Row, String> {
    if let Value::Object(row) = value { Ok(row) } else { Err(format!("row {}: no record of named columns", number + 1)) }
}

fn broken(error: &parquet::errors::ParquetError) -> String {
    format!("no whole Parquet file: {error}")
}
