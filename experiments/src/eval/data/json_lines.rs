//! JSON lines: one object a line; empty lines are passed over.

use super::{Row, Rows};

/// Every line as a row, or with its number and what is wrong with it.
pub(super) fn read(content: &[u8]) -> Rows {
    let lines = content.split(|&byte| byte == b'\n').zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty());
    lines.map(|(line, number)| row(line).map_err(|why| format!("line {number}: {why}"))).collect()
}

fn row(line: &[u8]) -> Result<Row, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
    let object = text.trim_start_matches('\u{feff}').trim();
    serde_json::from_str(object).map_err(|error| error.to_string().replace(" at line 1 column ", " at column "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_read() {
        let rows = read(b"\xef\xbb\xbf{\"a\":1}\r\n\nrubbish\n[1]\n{\"a\":\"\xff\"}\n{\"a\":2}");
        let told: Vec<_> = rows.iter().map(|row| row.as_ref().map_or_else(|why| why.clone(), |row| row["a"].to_string())).collect();
        assert_eq!(told[0], "1");
        assert!(
            told[1].starts_with("line 3: ") && told[2].starts_with("line 4: ") && told[3].contains("not UTF-8 from byte 7 on"),
            "{told:?}"
        );
        assert_eq!(told[4], "2");
    }
}
