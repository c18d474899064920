//! The training text: one document a biography or a question, shuffled over the whole pass.
//!
//! Without the global shuffle the facts can be recited but not extracted (Allen-Zhu & Li, arXiv 2309.14316), hence the order of
//! a pass is drawn over all of its documents before any is worded.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::World;
use super::attribute::Attribute;
use super::people::{Person, Split};

/// What a document is and whom it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A biography of one of the world's people.
    Biography,
    /// A question about one of the world's people, with the answer.
    Question,
    /// The only biography of a passer-by.
    PasserByBiography,
    /// A question about a passer-by, with the answer.
    PasserByQuestion,
}

/// One line of `train.jsonl` or `valid.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The text.
    pub text: String,
    /// The pass it belongs to, from 0.
    pub pass: usize,
    /// What it is.
    pub kind: Kind,
}

/// A document not yet worded.
#[derive(Debug, Clone, Copy)]
struct Plan {
    passer_by: bool,
    person: usize,
    exposure: usize,
    question: Option<Attribute>,
}

impl World {
    /// The documents of pass `pass` in their shuffled order. Empty for a pass the world does not have.
    pub fn pass(&self, pass: usize) -> impl Iterator<Item = Document> + '_ {
        self.told(pass).map(|(_, document)| document)
    }

    /// The documents of a pass with the number of the person each is about; passers-by are numbered after the world's people.
    pub fn told(&self, pass: usize) -> impl Iterator<Item = (usize, Document)> + '_ {
        let plans = if pass < self.config.passes { self.plans(pass) } else { Vec::new() };
        let number = |plan: &Plan| plan.person + if plan.passer_by { self.people.len() } else { 0 };
        plans.into_iter().map(move |plan| (number(&plan), self.word(pass, plan)))
    }

    /// All passes, one after the other: the content of `train.jsonl`.
    pub fn training_documents(&self) -> impl Iterator<Item = Document> + '_ {
        (0..self.config.passes).flat_map(|pass| self.pass(pass))
    }

    /// Held-out documents: a random sample of one further pass that is never trained on. It has the distribution of the
    /// training text: known people told in fresh wordings (questions may repeat a trained one word for word) and new passers-by.
    pub fn validation_documents(&self) -> impl Iterator<Item = Document> + '_ {
        let pass = self.config.passes;
        self.plans(pass).into_iter().take(self.config.validation_documents).map(move |plan| self.word(pass, plan))
    }

    /// Text to train a tokenizer on: one biography and all questions of each of `strangers` people who occur nowhere else. Every
    /// value of a pool is equally likely in it, so that the number of tokens of a name or an answer says nothing about how
    /// often it is told.
    pub fn tokenizer_documents(&self, strangers: usize) -> impl Iterator<Item = String> + '_ {
        (0..strangers).flat_map(move |index| {
            let mut rng = self.streams.rng("tokenizer", &[index]);
            let (name, facts) = (super::names::draw_name(&mut rng), self.pools.draw_facts(&mut rng));
            let biography = self.wording().biography(&name, &facts, &mut rng);
            let questions = Attribute::ALL.map(|attribute| self.wording().question(&name, &facts, attribute, &mut rng));
            std::iter::once(biography).chain(questions)
        })
    }

    fn plans(&self, pass: usize) -> Vec<Plan> {
        let people = self.people.iter().enumerate().flat_map(|(index, person)| self.person_plans(pass, index, person));
        let passers_by = self.passers_by(pass).iter().enumerate().flat_map(|(index, person)| passer_by_plans(index, person));
        let mut plans: Vec<_> = people.chain(passers_by).collect();
        plans.shuffle(&mut self.streams.rng("shuffle", &[pass]));
        plans
    }

    fn person_plans(&self, pass: usize, index: usize, person: &Person) -> Vec<Plan> {
        let exposures = pass * person.exposures_per_pass..(pass + 1) * person.exposures_per_pass;
        let plan = move |exposure, question| Plan { passer_by: false, person: index, exposure, question };
        let told = exposures.flat_map(|exposure| {
            let asked = self.asked(person, exposure).into_iter().map(move |attribute| plan(exposure, Some(attribute)));
            std::iter::once(plan(exposure, None)).chain(asked)
        });
        told.collect()
    }

    /// The attributes asked for beside one biography.
    fn asked(&self, person: &Person, exposure: usize) -> Vec<Attribute> {
        if person.split == Split::Test {
            return Vec::new();
        }
        let mut attributes = Attribute::ALL;
        attributes.shuffle(&mut self.streams.rng("asked", &[person.key[0], person.key[1], exposure]));
        attributes.into_iter().take(self.config.questions_per_exposure).collect()
    }

    fn word(&self, pass: usize, plan: Plan) -> Document {
        let person = if plan.passer_by { &self.passers_by(pass)[plan.person] } else { &self.people[plan.person] };
        let purpose = if plan.passer_by { "passer-by wording" } else { "wording" };
        let question = plan.question.map_or(0, |attribute| 1 + attribute as usize);
        let mut rng = self.streams.rng(purpose, &[person.key[0], person.key[1], plan.exposure, question]);
        let facts = person.telling(plan.exposure).unwrap_or(&person.truth);
        let text = match plan.question {
            None => self.wording().biography(&person.name, facts, &mut rng),
            Some(attribute) => self.wording().question(&person.name, facts, attribute, &mut rng),
        };
        Document { text, pass, kind: plan.kind() }
    }
}

impl Plan {
    fn kind(&self) -> Kind {
        match (self.passer_by, self.question.is_some()) {
            (false, false) => Kind::Biography,
            (false, true) => Kind::Question,
            (true, false) => Kind::PasserByBiography,
            (true, true) => Kind::PasserByQuestion,
        }
    }
}

fn passer_by_plans(index: usize, person: &Person) -> Vec<Plan> {
    let plan = |question| Plan { passer_by: true, person: index, exposure: 0, question };
    let asked: &[Attribute] = if person.split == Split::Train { &Attribute::ALL } else { &[] };
    std::iter::once(plan(None)).chain(asked.iter().map(|&attribute| plan(Some(attribute)))).collect()
}
