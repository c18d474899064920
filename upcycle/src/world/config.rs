//! What a synthetic world consists of: the knobs, their defaults (the demo's) and their limits.

use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::names::NAME_SPACE;
use super::pools::{PoolSizes, limits};
use super::templates::{QUESTION_FORMS, SENTENCE_TEMPLATES};
use super::{Result, WorldError};

/// The people told equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposureLevel {
    /// Biographies of each of these people in one pass; 0 = never seen.
    pub exposures_per_pass: usize,
    /// How many people are told this often.
    pub people: usize,
}

/// The recipe of a world. The default is the demo's: about 0.44 M tokens a pass with a vocabulary of
/// 1,500, five passes for the pre-training and one for the continuation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// Passes over the people. Each pass renders every biography anew and brings new passers-by.
    pub passes: usize,
    /// How many people are told how often.
    pub levels: Vec<ExposureLevel>,
    /// Sentence templates in use for each attribute, 1 to 8.
    pub templates: usize,
    /// Share of the biographies that go on with the pronoun after the first sentence; the others say the full name in every sentence,
    /// from which a small model learns to answer questions much sooner (the `fullname` augmentation of arXiv 2309.14316).
    pub pronoun_share: f64,
    /// Phrasings in use for each attribute's question, 1 to 4.
    pub question_forms: usize,
    /// Share of the told people whose questions stand in the training text; the others' questions are the test.
    pub question_share: f64,
    /// Questions that go with each biography of a person of the training half, 0 to 6.
    pub questions_per_exposure: usize,
    /// People told once and never again, new ones in each pass.
    pub passers_by_per_pass: usize,
    /// Share of the passers-by with one question for each attribute in the same pass.
    pub passers_by_question_share: f64,
    /// Share of each told level's people with two conflicting biographies, told equally often.
    pub ambiguous_share: f64,
    /// Share of each told level's people about whom only falsehoods are told.
    pub wrong_share: f64,
    /// Documents held out for the validation loss.
    pub validation_documents: usize,
    /// How many values each attribute can take.
    pub pools: PoolSizes,
}

impl Default for WorldConfig {
    fn default() -> Self {
        let level = |(exposures_per_pass, people)| ExposureLevel { exposures_per_pass, people };
        Self {
            seed: 0,
            passes: 6,
            levels: [(0, 50), (1, 50), (5, 50), (20, 60), (100, 40)].map(level).to_vec(),
            templates: 6,
            pronoun_share: 0.0,
            question_forms: 3,
            question_share: 0.5,
            questions_per_exposure: 3,
            passers_by_per_pass: 600,
            passers_by_question_share: 0.5,
            ambiguous_share: 0.1,
            wrong_share: 0.1,
            validation_documents: 800,
            pools: PoolSizes::default(),
        }
    }
}

impl WorldConfig {
    /// Checks every knob.
    ///
    /// # Errors
    /// [`WorldError::Config`] with the first knob out of its limits, its value and what would do.
    pub fn validate(&self) -> Result<()> {
        self.check_counts()?;
        self.check_levels()?;
        self.check_shares()?;
        self.check_pools()?;
        self.check_names()
    }

    fn check_counts(&self) -> Result<()> {
        within("passes", self.passes, 1, 10_000)?;
        within("templates", self.templates, 1, SENTENCE_TEMPLATES)?;
        within("question_forms", self.question_forms, 1, QUESTION_FORMS)?;
        within("questions_per_exposure", self.questions_per_exposure, 0, Attribute::ALL.len())
    }

    fn check_levels(&self) -> Result<()> {
        let mut seen = std::collections::BTreeSet::new();
        for level in &self.levels {
            within("levels.people", level.people, 1, NAME_SPACE)?;
            within("levels.exposures_per_pass", level.exposures_per_pass, 0, 1_000_000)?;
            if !seen.insert(level.exposures_per_pass) {
                return refuse(format!("levels: exposures_per_pass = {} stands twice; merge the two", level.exposures_per_pass));
            }
        }
        if seen.iter().all(|&exposures| exposures == 0) {
            return refuse("levels: nobody is told; give at least one level with exposures_per_pass of 1 or more".to_owned());
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<()> {
        share("question_share", self.question_share)?;
        share("pronoun_share", self.pronoun_share)?;
        share("passers_by_question_share", self.passers_by_question_share)?;
        share("ambiguous_share", self.ambiguous_share)?;
        share("wrong_share", self.wrong_share)?;
        share("ambiguous_share + wrong_share", self.ambiguous_share + self.wrong_share)
    }

    fn check_pools(&self) -> Result<()> {
        let pools = &self.pools;
        within("pools.birth_years", pools.birth_years, 1, limits::BIRTH_YEARS)?;
        within("pools.cities", pools.cities, 2, limits::CITIES)?;
        within("pools.universities", pools.universities, 2, limits::UNIVERSITIES)?;
        within("pools.majors", pools.majors, 2, limits::MAJORS)?;
        within("pools.employers", pools.employers, 2, limits::EMPLOYERS)?;
        within("pools.employer_cities", pools.employer_cities, 2, pools.cities)?;
        if !pools.employers.is_multiple_of(pools.employer_cities) {
            let (employers, cities) = (pools.employers, pools.employer_cities);
            return refuse(format!(
                "pools.employers = {employers} must be a multiple of pools.employer_cities = {cities}, so that every city is equally likely"
            ));
        }
        Ok(())
    }

    /// Half of the name space is kept free, so that drawing an unused name never takes long.
    fn check_names(&self) -> Result<()> {
        let people = self.levels.iter().map(|level| level.people).sum::<usize>();
        let passers_by = self.passers_by_per_pass.saturating_mul(self.passes + 1);
        let wanted = people.saturating_add(passers_by);
        if wanted <= NAME_SPACE / 2 {
            return Ok(());
        }
        refuse(format!("{wanted} names are needed (people and passers-by of all passes), at most {} can be given", NAME_SPACE / 2))
    }
}

fn within(knob: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    refuse(format!("{knob} = {value} is not between {low} and {high}"))
}

fn share(knob: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    refuse(format!("{knob} = {value} is not a share between 0 and 1"))
}

fn refuse(sentence: String) -> Result<()> {
    Err(WorldError::Config(sentence))
}
