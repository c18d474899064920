//! Recipes as TOML: unknown keys are refused with the nearest known one named.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;

use crate::common::read_text;

/// Reads a recipe.
///
/// # Errors
/// One sentence with the file, the line and what is wrong there.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(&read_text(path)?).map_err(|sentence| anyhow!("{}: {sentence}", path.display()))
}

/// Reads a text.
///
/// # Errors
/// One sentence with the line and what is wrong there.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{place}{}", message(&error))
    })
}

/// What an error says, on one line, with the nearest known name.
pub fn message(error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    format!("{message}{}", nearest(&message))
}

/// " (did you mean …?)" for serde's "unknown field `x`, expected one of `a`, `b`".
fn nearest(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((unknown, known)) = names.split_first().filter(|_| message.starts_with("unknown ")) else { return String::new() };
    let best = known.iter().max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
    best.filter(|best| strsim::jaro_winkler(unknown, best) > 0.7).map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Recipe {
        steps: u32,
        learning_rate: f64,
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_nearest_name() {
        let told = super::parse::<Recipe>("steps = 3\nlearning_rat = 0.1\n").unwrap_err();
        assert!(told.starts_with("line 2: unknown field `learning_rat`"), "{told}");
        assert!(told.ends_with("(did you mean `learning_rate`?)"), "{told}");
    }

    #[test]
    fn a_wrong_type_names_its_line() {
        let told = super::parse::<Recipe>("steps = \"many\"\nlearning_rate = 0.1\n").unwrap_err();
        assert!(told.starts_with("line 1: invalid type"), "{told}");
    }
}
