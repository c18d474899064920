//! What a judge is asked. In a chat it is told to answer with one word; a completion stops where that word is due.

use super::ask::{Endpoint, Input};

/// What P(True) chooses from.
pub(super) const TRUTH: [&str; 2] = ["True", "False"];
/// What a judge of support chooses from.
pub(super) const SUPPORT: [&str; 2] = ["Yes", "No"];
/// What a judge of entailment chooses from.
pub(super) const RELATIONS: [&str; 3] = ["entailment", "neutral", "contradiction"];

/// Is the answer right? (Kadavath et al. 2022, section 3.1.) With further answers it is the form of their section 3.2.
pub(super) fn truth(question: &str, answer: &str, samples: &[&str], endpoint: Endpoint) -> Input {
    let ideas = if samples.is_empty() { String::new() } else { format!("Here are some ideas that came up:\n{}\n", samples.join("\n")) };
    choice(&format!("Question: {question}\n{ideas}Possible answer: {answer}\nIs the possible answer true or false?"), &TRUTH, endpoint)
}

/// How sure is it? (Tian et al. 2023, the two-stage form: the number is asked for after the answer.)
pub(super) fn confidence(question: &str, answer: &str, endpoint: Endpoint) -> Input {
    let asked = "How probable is it that the answer is right? Give a number from 0 to 1 and nothing else.";
    Input::Text(format!(
        "Question: {question}\nAnswer: {answer}\n{asked}{}",
        if endpoint == Endpoint::Completion { "\nProbability:" } else { "" }
    ))
}

/// Does a sample support a sentence? (SelfCheckGPT with prompting, Manakul et al. 2023, section 5.5.)
pub(super) fn support(sentence: &str, sample: &str, endpoint: Endpoint) -> Input {
    let context = sample.replace('\n', " ");
    choice(&format!("Context: {context}\n\nSentence: {sentence}\n\nIs the sentence supported by the context above?"), &SUPPORT, endpoint)
}

/// Which relation has a hypothesis to a premise?
pub(super) fn relation(premise: &str, hypothesis: &str, endpoint: Endpoint) -> Input {
    let asked = "Does the hypothesis follow from the premise (entailment), is it ruled out by it (contradiction), or neither (neutral)?";
    choice(&format!("Premise: {premise}\nHypothesis: {hypothesis}\n{asked}"), &RELATIONS, endpoint)
}

fn choice(question: &str, options: &[&str], endpoint: Endpoint) -> Input {
    let options = options.join(" or ");
    Input::Text(match endpoint {
        Endpoint::Chat => format!("{question} Answer with one word: {options}."),
        Endpoint::Completion => format!("{question} ({options})\nAnswer:"),
    })
}
