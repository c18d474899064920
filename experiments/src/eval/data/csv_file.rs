//! CSV with a header line. Every value is a text; templates turn it into a number where they need one.

use serde_json::Value;

use super::Rows;

/// Every record as a row, or with its line and what is wrong with it.
///
/// # Errors
/// When the header cannot be read.
pub(super) fn read(content: &[u8]) -> Result<Rows, String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(content);
    let names = reader.headers().map_err(|error| format!("the header: {error}"))?.clone();
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record.map_err(|error| told(&error))?;
        Ok(names.iter().zip(&record).map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
    };
    Ok(reader.records().map(row).collect())
}

fn told(error: &csv::Error) -> String {
    let line = error.position().map(|position| format!("line {}: ", position.line())).unwrap_or_default();
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("{line}{len} fields, the header has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => format!("{line}not UTF-8"),
        _ => format!("{line}{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_and_lines_of_another_length() {
        let rows = read(b"a,b\n\"x, \"\"y\"\"\nz\",2\n3\n\xff,4\n").expect("a header");
        let row = rows[0].as_ref().expect("a good row");
        assert_eq!((&row["a"], &row["b"]), (&Value::from("x, \"y\"\nz"), &Value::from("2")));
        assert_eq!(rows[1].as_ref().expect_err("short"), "line 4: 1 fields, the header has 2");
        assert_eq!(rows[2].as_ref().expect_err("no text"), "line 5: not UTF-8");
    }
}
