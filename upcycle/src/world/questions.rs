//! The test questions with their exact labels, and the table of what is true.

use serde::{Deserialize, Serialize};

use super::World;
use super::attribute::Attribute;
use super::people::{Group, Person, Split};

/// One line of `questions.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `<person id>-<attribute>`, for example `x20-007-birth_city`.
    pub id: String,
    /// `Question: … Answer:`; the answer follows after a blank and is ended by the end-of-text token.
    pub prompt: String,
    /// The same question in the other phrasings in use.
    pub variants: Vec<String>,
    /// The true table's answer.
    pub answer: String,
    /// Every answer that counts as right: the answer, and for an ambiguous person the contradiction too.
    pub answers: Vec<String>,
    /// Every answer the training text gives; empty for a person never seen, false for the group `wrong`.
    pub told: Vec<String>,
    /// What is asked.
    pub attribute: Attribute,
    /// How many answers the attribute can have.
    pub pool_size: usize,
    /// The full name.
    pub person: String,
    /// Biographies of the person in each pass.
    pub exposures_per_pass: usize,
    /// Biographies of the person in all passes.
    pub total_exposures: usize,
    /// What the training text says about the person; `ambiguous` and `wrong` are the planted groups.
    pub group: Group,
    /// `train`: the training text has this person's questions; `test`: it has not.
    pub split: Split,
}

/// One line of `knowledge.jsonl`: a fact of the true table. Passers-by are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// The full name.
    pub person: String,
    /// What the fact is about.
    pub attribute: Attribute,
    /// The true value.
    pub value: String,
    /// Every value that counts as right.
    pub accepted: Vec<String>,
    /// What the training text says about the person.
    pub group: Group,
    /// The fact as a sentence.
    pub statement: String,
}

impl World {
    /// One question for each person and attribute, of both splits. Headline figures use the split `test` and the groups `known`
    /// and `never`.
    pub fn questions(&self) -> impl Iterator<Item = Question> + '_ {
        self.people.iter().flat_map(|person| Attribute::ALL.map(|attribute| self.question(person, attribute)))
    }

    /// The true table, of everyone but the passers-by.
    pub fn knowledge(&self) -> impl Iterator<Item = Fact> + '_ {
        self.people.iter().flat_map(|person| Attribute::ALL.map(|attribute| self.fact(person, attribute)))
    }

    fn question(&self, person: &Person, attribute: Attribute) -> Question {
        let mut rng = self.streams.rng("prompt", &[person.key[0], person.key[1], attribute as usize]);
        let mut variants = self.wording().prompts(&person.name, attribute, &mut rng);
        Question {
            id: format!("{}-{}", person.id, attribute.name()),
            prompt: variants.swap_remove(0),
            variants,
            answer: self.pools.value(&person.truth, attribute).to_owned(),
            answers: self.values(person.accepted(), attribute),
            told: self.values(&person.told, attribute),
            attribute,
            pool_size: self.pools.size(attribute),
            person: person.name.full.clone(),
            exposures_per_pass: person.exposures_per_pass,
            total_exposures: person.exposures_per_pass * self.config.passes,
            group: person.group,
            split: person.split,
        }
    }

    fn fact(&self, person: &Person, attribute: Attribute) -> Fact {
        Fact {
            person: person.name.full.clone(),
            attribute,
            value: self.pools.value(&person.truth, attribute).to_owned(),
            accepted: self.values(person.accepted(), attribute),
            group: person.group,
            statement: self.wording().statement(&person.name, &person.truth, attribute),
        }
    }

    fn values(&self, facts: &[super::Facts], attribute: Attribute) -> Vec<String> {
        facts.iter().map(|facts| self.pools.value(facts, attribute).to_owned()).collect()
    }
}
