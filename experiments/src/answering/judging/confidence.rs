//! The confidence a model names (Tian et al., arXiv 2305.14975; lm-polygraph's `verbalized_2s.py`, whose first stage is the answer itself).

use anyhow::Result;
use coppice_models::generate::{Options, generate};

use super::Judging;

/// The question for a number, in the words of the paper.
const QUESTION: &str = "Provide the probability that your guess is correct. Give ONLY the probability, no other words or explanation.\n\nFor \
    example:\n\nProbability: <the probability between 0.0 and 1.0 that your guess is correct, without any extra commentary whatsoever; just the \
    probability!>";

/// Longest reply in tokens.
const REPLY: usize = 10;

/// The number every record's answer is given, 0 to 1; none where the reply holds none.
pub(super) fn verbalised(asked: &Judging) -> Result<Vec<Option<f64>>> {
    let turns = asked.questions.iter().zip(asked.records);
    let prompts = turns.map(|(question, record)| Ok(Some(prompt(asked, question, &record.response)?))).collect::<Result<Vec<_>>>()?;
    let fitting = asked.fitting(&prompts, 1);
    let told: Vec<Vec<i64>> = fitting.iter().flatten().cloned().collect();
    let mut replies = replies(asked, &told)?.into_iter();
    Ok(fitting.into_iter().map(|prompt| prompt.and_then(|_| replies.next()).and_then(|reply| number(&reply))).collect())
}

fn prompt(asked: &Judging, question: &str, answer: &str) -> Result<Vec<i64>> {
    let plain = || Ok(format!("Question: {question}\nGuess: {answer}\n\n{QUESTION}\n\nProbability:"));
    let chat = asked.answering.chat.as_ref();
    asked.answering.encode(&chat.map_or_else(plain, |chat| chat.render(&[question, answer, QUESTION]))?)
}

/// The most probable reply to each prompt.
fn replies(asked: &Judging, prompts: &[Vec<i64>]) -> Result<Vec<String>> {
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let settings = &asked.answering.settings;
    let (stop_ids, banned_ids) = (settings.stop_ids.clone(), settings.banned_ids.clone());
    let options = Options { max_new_tokens: REPLY, stop_ids, banned_ids, ..Options::default() };
    let traces = generate(asked.answering.model, prompts, &options)?;
    traces.iter().flatten().map(|trace| asked.answering.text(&trace.tokens)).collect()
}

/// The first number of a reply as a probability: `0.8`, `.8`, `1`, `80%`; none where it is outside of 0 to 1.
fn number(reply: &str) -> Option<f64> {
    let start = reply.find(|c: char| c.is_ascii_digit())?;
    let start = if reply[..start].ends_with('.') { start - 1 } else { start };
    let rest = &reply[start..];
    let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let value = rest[..digits].trim_end_matches('.').parse::<f64>().ok()?;
    let value = if rest[digits..].trim_start().starts_with('%') { value / 100.0 } else { value };
    (!reply[..start].ends_with('-') && (0.0..=1.0).contains(&value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn the_first_number_is_the_confidence() {
        let read = ["0.85", " Probability: 0.7\nGuess: 0.1", "1", "0.", ".25", "80%", "95 %.", "0.5."].map(number);
        assert_eq!(read, [0.85, 0.7, 1.0, 0.0, 0.25, 0.8, 0.95, 0.5].map(Some));
    }

    #[test]
    fn a_reply_without_a_probability_is_none() {
        assert_eq!(["", "certain", "85", "-0.5", "1.5", "0.1.2", "140%"].map(number), [None; 7]);
    }
}
