//! Plain text: one document, or several that begin with lines of a certain form. Each is a row with the column `text`.

use regex::Regex;

use super::{Row, Rows};

/// The documents of a text.
///
/// # Errors
/// When the text is not UTF-8, or `document` is no regular expression.
pub(super) fn read(content: &[u8], document: Option<&str>) -> Result<Rows, String> {
    let text = std::str::from_utf8(content).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
    let first = document.map(Regex::new).transpose().map_err(|error| format!("`document` is no regular expression: {error}"))?;
    let mut documents: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        let begins = first.as_ref().is_some_and(|first| first.is_match(line.trim_end_matches('\n')));
        match documents.last_mut() {
            Some(last) if !begins => last.push_str(line),
            _ => documents.push(line.to_owned()),
        }
    }
    Ok(documents.into_iter().map(|text| Ok(Row::from_iter([("text".to_owned(), text.into())]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_begin_where_the_expression_says() {
        let texts = |document| -> Vec<String> {
            let rows = read(b"= A =\nx\n = = b = =\n= C =\ny", document).expect("a text");
            rows.into_iter().map(|row| row.expect("a row")["text"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(texts(Some("^= [^=].* =$")), ["= A =\nx\n = = b = =\n", "= C =\ny"]);
        assert_eq!(texts(None).len(), 1);
    }
}
