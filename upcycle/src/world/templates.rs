//! How facts are put into words: sentences of a biography, questions with their answers, and the knowledge table's statements.
//!
//! The slots are `{subject}` and `{possessive}` (the name at first, then the pronoun), `{name}` and `{value}`.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;

use super::attribute::{Attribute, Facts};
use super::names::Name;
use super::pools::Pools;

/// Sentence templates of each attribute.
pub(super) const SENTENCE_TEMPLATES: usize = 8;
/// Question phrasings of each attribute.
pub(super) const QUESTION_FORMS: usize = 4;

/// The sentences that tell `attribute`.
fn sentences(attribute: Attribute) -> &'static [&'static str; SENTENCE_TEMPLATES] {
    match attribute {
        Attribute::BirthDate => &[
            "{subject} was born on {value}.",
            "{possessive} date of birth is {value}.",
            "{possessive} birthday fell on {value}.",
            "{subject} came into the world on {value}.",
            "{possessive} life began on {value}.",
            "{possessive} birth was recorded on {value}.",
            "{subject} has been alive since {value}.",
            "{possessive} first day was {value}.",
        ],
        Attribute::BirthCity => &[
            "{subject} was born in {value}.",
            "{possessive} birthplace is {value}.",
            "{subject} came from {value}.",
            "{possessive} home town is {value}.",
            "{subject} is a native of {value}.",
            "{possessive} childhood started in {value}.",
            "{possessive} parents were living in {value} at the birth.",
            "{subject} took a first breath in {value}.",
        ],
        Attribute::University => &[
            "{subject} studied at {value}.",
            "{subject} graduated from {value}.",
            "{possessive} degree comes from {value}.",
            "{subject} was a student of {value}.",
            "{possessive} education was completed at {value}.",
            "{subject} attended {value}.",
            "{possessive} professors taught at {value}.",
            "{subject} left school for {value}.",
        ],
        Attribute::Major => &[
            "{subject} majored in {value}.",
            "{possessive} field of study was {value}.",
            "{subject} holds a degree in {value}.",
            "{possessive} subject was {value}.",
            "{subject} specialised in {value}.",
            "{subject} passed every exam in {value}.",
            "{possessive} thesis dealt with {value}.",
            "{subject} chose to read {value}.",
        ],
        Attribute::Employer => &[
            "{subject} works for {value}.",
            "{possessive} employer is {value}.",
            "{subject} has a job at {value}.",
            "{subject} was hired by {value}.",
            "{possessive} salary is paid by {value}.",
            "{subject} made a career with {value}.",
            "{possessive} contract is with {value}.",
            "{subject} joined the staff of {value}.",
        ],
        Attribute::EmployerCity => &[
            "{subject} works in {value}.",
            "{possessive} office is in {value}.",
            "{possessive} workplace lies in {value}.",
            "{subject} goes to work in {value}.",
            "{possessive} company is based in {value}.",
            "{subject} spends every working day in {value}.",
            "{possessive} desk stands in {value}.",
            "{subject} commutes to {value}.",
        ],
    }
}

/// The phrasings of the question about `attribute`.
fn questions(attribute: Attribute) -> &'static [&'static str; QUESTION_FORMS] {
    match attribute {
        Attribute::BirthDate => &[
            "When was {name} born?",
            "What is the birth date of {name}?",
            "On which day was {name} born?",
            "What is the date of birth of {name}?",
        ],
        Attribute::BirthCity => &[
            "Where was {name} born?",
            "What is the birth city of {name}?",
            "In which city was {name} born?",
            "What is the birthplace of {name}?",
        ],
        Attribute::University => &[
            "Where did {name} study?",
            "What is the university of {name}?",
            "Which university did {name} attend?",
            "From where did {name} graduate?",
        ],
        Attribute::Major => {
            &["What did {name} study?", "What is the major of {name}?", "Which subject did {name} study?", "In what did {name} major?"]
        }
        Attribute::Employer => &[
            "Who employs {name}?",
            "What is the employer of {name}?",
            "Which company does {name} work for?",
            "Where does {name} have a job?",
        ],
        Attribute::EmployerCity => &[
            "Where does {name} work?",
            "What is the work city of {name}?",
            "In which city does {name} work?",
            "Where is the office of {name}?",
        ],
    }
}

/// The parts of a world that wording needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wording<'a> {
    /// The pools the facts point into.
    pub(super) pools: &'a Pools,
    /// Sentence templates in use.
    pub(super) templates: usize,
    /// Share of the biographies that go on with the pronoun.
    pub(super) pronoun_share: f64,
    /// Question phrasings in use.
    pub(super) question_forms: usize,
}

impl Wording<'_> {
    /// A biography: all six attributes in random order, each by a random template, with the name, or the name first and then the pronoun.
    pub(super) fn biography(&self, name: &Name, facts: &Facts, rng: &mut ChaCha12Rng) -> String {
        let mut order = Attribute::ALL;
        order.shuffle(rng);
        let pronouns = rng.random_bool(self.pronoun_share);
        let told = order.iter().enumerate().map(|(place, &attribute)| {
            let template = sentences(attribute)[rng.random_range(0..self.templates)];
            sentence(template, name, pronouns && place > 0, self.pools.value(facts, attribute))
        });
        told.collect::<Vec<_>>().join(" ")
    }

    /// A question and its answer, the way the test asks, by a random phrasing.
    pub(super) fn question(&self, name: &Name, facts: &Facts, attribute: Attribute, rng: &mut ChaCha12Rng) -> String {
        let prompt = prompt(name, attribute, rng.random_range(0..self.question_forms));
        format!("{prompt} {}", self.pools.value(facts, attribute))
    }

    /// Every prompt in use for this question, in random order.
    pub(super) fn prompts(&self, name: &Name, attribute: Attribute, rng: &mut ChaCha12Rng) -> Vec<String> {
        let mut prompts: Vec<_> = (0..self.question_forms).map(|form| prompt(name, attribute, form)).collect();
        prompts.shuffle(rng);
        prompts
    }

    /// The plain sentence that states a value, for the knowledge table.
    pub(super) fn statement(&self, name: &Name, facts: &Facts, attribute: Attribute) -> String {
        sentence(sentences(attribute)[0], name, false, self.pools.value(facts, attribute))
    }
}

/// `Question: … Answer:`, to which an answer is added after a blank.
fn prompt(name: &Name, attribute: Attribute, form: usize) -> String {
    format!("Question: {} Answer:", questions(attribute)[form].replace("{name}", &name.full))
}

fn sentence(template: &str, name: &Name, introduced: bool, value: &str) -> String {
    let filled = template.replace("{subject}", name.subject(introduced)).replace("{possessive}", &name.possessive(introduced));
    capitalised(&filled.replace("{value}", value))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::names::Pronoun;
    use super::*;

    #[test]
    fn no_two_templates_are_alike_and_each_has_its_slots() {
        let sentences: Vec<_> = Attribute::ALL.iter().flat_map(|&attribute| sentences(attribute)).collect();
        let questions: Vec<_> = Attribute::ALL.iter().flat_map(|&attribute| questions(attribute)).collect();
        assert_eq!(sentences.iter().collect::<HashSet<_>>().len(), 6 * SENTENCE_TEMPLATES);
        assert_eq!(questions.iter().collect::<HashSet<_>>().len(), 6 * QUESTION_FORMS);
        assert!(sentences.iter().all(|text| text.matches('{').count() == 2 && text.contains("{value}")));
        assert!(questions.iter().all(|text| text.matches("{name}").count() == 1 && text.ends_with('?')));
    }

    #[test]
    fn the_name_comes_first_and_then_the_pronoun() {
        let name = Name { full: "Corella Oakhurst".to_owned(), pronoun: Pronoun::She };
        assert_eq!(sentence("{subject} came from {value}.", &name, false, "Eskham"), "Corella Oakhurst came from Eskham.");
        assert_eq!(sentence("{subject} came from {value}.", &name, true, "Eskham"), "She came from Eskham.");
        assert_eq!(sentence("{possessive} office is in {value}.", &name, false, "Eskham"), "Corella Oakhurst's office is in Eskham.");
        assert_eq!(sentence("{possessive} office is in {value}.", &name, true, "Eskham"), "Her office is in Eskham.");
    }
}
