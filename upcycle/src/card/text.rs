//! Text from outside inside YAML and Markdown.

/// A string that YAML reads back as it is: JSON's form is one of YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text that Markdown and HTML show as it is, on one line, in a table too.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '!' | '#' => escaped.extend(['\\', character]),
            _ if character.is_control() => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Text as code on one line, in a table too.
pub(super) fn code(text: &str) -> String {
    let plain: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    format!("`{}`", plain.replace('`', "'").replace('|', "\\|"))
}

/// A count with its thousands apart: `1,644,515,328`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text() {
        assert_eq!(escape("a\n# b | [c](d) <img>"), "a \\# b \\| \\[c\\](d) &lt;img&gt;");
        assert_eq!(code("a`b|c\n"), "`a'b\\|c `");
        assert_eq!(quoted("x\"\n- y: z"), r#""x\"\n- y: z""#);
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 1_644_515_328].map(grouped), ["0", "999", "1,000", "1,644,515,328"]);
    }
}
