//! Exact grades for answers: the pools are closed, so no judge model is needed.

use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::pools::Pools;
use super::questions::Question;

/// Texts that decline to answer, normalised.
const REFUSALS: [&str; 6] = ["i don't know", "i do not know", "don't know", "unknown", "not known", "no answer"];

/// How an answer compares with the true table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// One of the accepted answers.
    Correct,
    /// Another value of the right type: a made-up or confused fact.
    WrongValue,
    /// Anything else: a value of another attribute, or no value at all.
    WrongType,
    /// Nothing, or words that decline to answer.
    Abstained,
}

/// Grades the text that follows a prompt by exact match after [`normalised`].
///
/// Both city attributes have one type: any city of the world is a `WrongValue` for either.
pub fn grade(answer_text: &str, question: &Question, pools: &Pools) -> Grade {
    let given = normalised(answer_text);
    let is_given = |answer: &String| normalised(answer) == given;
    if given.is_empty() || REFUSALS.contains(&given.as_str()) {
        Grade::Abstained
    } else if question.answers.iter().any(is_given) {
        Grade::Correct
    } else if pools.answers(type_pool(question.attribute)).iter().any(is_given) {
        Grade::WrongValue
    } else {
        Grade::WrongType
    }
}

/// The answer as it is compared: the first line that is not blank up to the end-of-text token, lower case, runs of white space
/// as one blank, no punctuation or blanks at the ends.
pub fn normalised(answer_text: &str) -> String {
    let text = answer_text.split("<|endoftext|>").next().unwrap_or_default();
    let line = text.trim_start().lines().next().unwrap_or_default();
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    words.trim_matches(|character: char| !character.is_alphanumeric()).to_owned()
}

/// The pool of all values of the attribute's type: employers' cities are some of the cities.
fn type_pool(attribute: Attribute) -> Attribute {
    if attribute == Attribute::EmployerCity { Attribute::BirthCity } else { attribute }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_keeps_the_words_only() {
        for text in [" Eskham", "Eskham.", "\n \"ESKHAM\" \nHe", " Eskham<|endoftext|>Question:"] {
            assert_eq!(normalised(text), "eskham", "{text:?}");
        }
        assert_eq!(normalised(" 14  March\t1962 ."), "14 march 1962");
        assert_eq!(normalised(" \n..."), "");
    }
}
