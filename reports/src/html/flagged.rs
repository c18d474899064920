//! Flagged answers, their tokens coloured by how much they surprised the model that wrote them.

use crate::data::{Flagged, Report, Token};
use crate::units::fixed;

/// Surprise in nats from which on a token takes the next colour: probabilities of 90, 61, 37, 14 and 2 %.
pub(super) const LEVELS: [f64; 5] = [0.1, 0.5, 1.0, 2.0, 4.0];

/// A flagged answer as the page shows it.
pub(super) struct Answer<'r> {
    /// The data behind it.
    pub(super) flagged: &'r Flagged,
    /// The label of the arm that answered.
    pub(super) arm: &'r str,
    /// `wrong`, `right` or `unknown`.
    pub(super) truth: &'static str,
    /// The score that flagged it, with its value.
    pub(super) score: String,
    /// The right answers in one line; empty where none is known.
    pub(super) reference: String,
    /// Its tokens; empty where they were not kept.
    pub(super) tokens: Vec<Mark>,
    /// The same in plain text.
    pub(super) numbers: String,
}

/// A token with its colour.
pub(super) struct Mark {
    /// The space before it, which stays uncoloured.
    pub(super) gap: String,
    /// The rest of its text.
    pub(super) text: String,
    /// The level of its colour, 0 to 5; `None` where the surprise is not known.
    pub(super) level: Option<usize>,
    /// Its numbers, in words.
    pub(super) hint: String,
}

/// The report's flagged answers in the order given.
pub(super) fn answers(report: &Report) -> Vec<Answer<'_>> {
    report.flagged.iter().map(|flagged| answer(report, flagged)).collect()
}

fn answer<'r>(report: &'r Report, flagged: &'r Flagged) -> Answer<'r> {
    let name = if flagged.score_name.is_empty() { "score" } else { &flagged.score_name };
    Answer {
        flagged,
        arm: super::shown(report, &flagged.arm),
        truth: match flagged.label {
            Some(0) => "right",
            Some(1) => "wrong",
            _ => "unknown",
        },
        score: format!("{name} {}", fixed(flagged.score, 2)),
        reference: flagged.reference.join(" · "),
        tokens: flagged.tokens.iter().map(mark).collect(),
        numbers: flagged.tokens.iter().map(numbers).collect::<Vec<_>>().join("  "),
    }
}

fn mark(token: &Token) -> Mark {
    let surprise = token.surprise.filter(|v| v.is_finite());
    let level = surprise.map(|nats| LEVELS.iter().filter(|from| nats >= **from).count());
    let hint = format!("surprise {} nats, entropy {} nats", fixed(surprise, 2), fixed(token.entropy, 2));
    let text = token.text.trim_start_matches(' ');
    let gap = token.text.len() - text.len();
    Mark { gap: " ".repeat(gap), text: visible(text), level, hint }
}

/// A token and its surprise, for readers without colour.
fn numbers(token: &Token) -> String {
    format!("{} {}", visible(token.text.trim()), fixed(token.surprise, 2))
}

/// The text with line ends and other control characters made visible.
pub(super) fn visible(text: &str) -> String {
    let show = |c: char| match c {
        '\n' => '⏎',
        '\t' => '⇥',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_surprise() {
        let level = |surprise| mark(&Token { surprise, ..Token::default() }).level;
        assert_eq!(level(Some(0.0)), Some(0));
        assert_eq!(level(Some(0.1)), Some(1));
        assert_eq!(level(Some(3.9)), Some(4));
        assert_eq!(level(Some(40.0)), Some(5));
        assert_eq!(level(Some(f64::INFINITY)), None);
        assert_eq!(level(None), None);
    }
}
