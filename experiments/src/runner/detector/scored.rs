//! Every answer of the pre-trained model to every wording, with all its scores.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use coppice_detect::fitted::Fitted;
use coppice_detect::metrics::Groups;
use coppice_detect::scores::{Training, registry};
use coppice_detect::{Case, Record, Setup, score_case};
use coppice_models::fs::{Existing, write_atomic};
use coppice_upcycle::world::{Grade, Question, World, grade, normalised};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::questions::is_headline;
use super::super::recipe::DetectorRecipe;
use super::exact::SameFact;
use super::{parting, wordings};
use crate::answering::Answering;
use crate::common::{check_interrupt, progress};
use crate::jsonl;

/// Questions between two looks at the clock.
const SOME: usize = 60;
const SCORED: &str = "scored.jsonl";

/// An answer and what all scores say of it. Hidden states and samples are not kept: of thousands of answers they would fill the disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scored {
    /// What was asked.
    pub question: Question,
    /// The most probable answer.
    pub response: String,
    /// Whether it is wrong.
    pub wrong: bool,
    /// Whether the training text says what it says.
    pub told: bool,
    /// Whether learned scores were fitted on it.
    pub fitted_on: bool,
    /// Value of every score.
    pub scores: BTreeMap<String, f64>,
    /// Why others have none.
    pub missing: BTreeMap<String, String>,
}

/// Asks every test question in all wordings, fits the learned scores on some people, scores every answer, and keeps it in `folder`.
pub fn run(answering: &Answering, world: &World, recipe: &DetectorRecipe, folder: &Path) -> Result<()> {
    let questions = wordings::questions(world, recipe.wordings);
    let records = ask(answering, world, &questions)?;
    let people =
        parting::some_people(questions.iter().filter(|question| is_headline(question)), recipe.fit_share, recipe.seed, "to fit on");
    let is_fit = |question: &Question| is_headline(question) && people.contains(&question.person);
    let judge = Setup { entailment: Some(Box::new(SameFact)), ..Setup::default() };
    let fitted = fit(records.iter().zip(&questions).filter(|(_, question)| is_fit(question)), &judge, recipe.seed)?;
    write_atomic(folder.join("fitted.json"), fitted.to_json()?.as_bytes())?;
    let setup = Setup { fitted, ..judge };
    let scored: Vec<Scored> =
        records.par_iter().zip(&questions).map(|(record, question)| scored(record, question, is_fit(question), &setup)).collect();
    jsonl::write(&folder.join(SCORED), Existing::Replace, scored)
}

fn ask(answering: &Answering, world: &World, questions: &[Question]) -> Result<Vec<Record>> {
    let bar = progress(questions.len() as u64, "questions");
    let mut records = Vec::with_capacity(questions.len());
    for some in questions.chunks(SOME) {
        check_interrupt()?;
        let prompts: Vec<String> = some.iter().map(|question| question.prompt.clone()).collect();
        records.extend(answering.answer(&prompts)?.into_iter().zip(some).map(|(record, question)| labelled(record, question, world)));
        bar.inc(some.len() as u64);
    }
    wordings::cross(questions, &mut records);
    Ok(records)
}

fn labelled(record: Record, question: &Question, world: &World) -> Record {
    let wrong = grade(&record.response, question, world.pools()) != Grade::Correct;
    let source = json!({ "person": question.person, "group": question.group, "exposures": question.total_exposures });
    Record { id: question.id.clone(), label: Some(u8::from(wrong)), reference: question.answers.clone(), source: Some(source), ..record }
}

/// Fits every learned score that the records allow.
fn fit<'r>(of: impl Iterator<Item = (&'r Record, &'r Question)>, setup: &Setup, seed: u64) -> Result<Fitted> {
    let (records, people): (Vec<&Record>, Vec<&str>) = of.map(|(record, question)| (record, question.person.as_str())).unzip();
    let names: Vec<String> = registry().iter().filter(|scorer| scorer.learned().is_some()).map(|scorer| scorer.name().to_owned()).collect();
    let training = Training { groups: Groups::new(people), seed, ..Training::new(records, setup) };
    Ok(Fitted::fit(&names, &training, 0)?.fitted)
}

fn scored(record: &Record, question: &Question, fitted_on: bool, setup: &Setup) -> Scored {
    let verdict = score_case(&Case::with(record, setup), registry());
    let given = normalised(&record.response);
    Scored {
        question: question.clone(),
        response: record.response.clone(),
        wrong: record.label == Some(1),
        told: question.told.iter().any(|told| normalised(told) == given),
        fitted_on,
        scores: verdict.scores,
        missing: verdict.missing,
    }
}

/// The answers of a finished stage.
pub fn read(folder: &Path) -> Result<Vec<Scored>> {
    jsonl::read(&folder.join(SCORED))
}

/// An answer whose self-consistency is its chance of being wrong; what was learnt, true or false, looks alike.
#[cfg(test)]
pub(super) fn made_up(question: &Question, place: usize) -> Scored {
    use coppice_upcycle::world::Group;
    use rand::RngExt;
    let mut rng = coppice_models::init::stream(place as u64, "made up");
    let learnt = question.group != Group::Never;
    let chance = rng.random_range(if learnt { 0.0..0.3 } else { 0.8..1.0 });
    let wrong = question.group == Group::Wrong || rng.random_range(0.0..1.0) < chance;
    Scored {
        question: question.clone(),
        response: String::new(),
        wrong,
        told: learnt,
        fitted_on: false,
        scores: [("discrete_semantic_entropy".to_owned(), chance), ("length".to_owned(), 1.0)].into(),
        missing: BTreeMap::new(),
    }
}
