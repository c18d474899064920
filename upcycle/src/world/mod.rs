//! A synthetic world in which every fact, and every unknown, is known.
//!
//! After the synthetic biographies bioS of Allen-Zhu & Li (arXiv 2309.14316 and 2404.05405): people with composed names and six
//! attributes, each from a closed pool of known size, told in many wordings and shuffled globally. Pools and templates are our
//! own. Planted on purpose:
//!
//! - people told 0, 1, 5, 20 or 100 times a pass. Never told, the ideal answer is the pool: entropy ln(pool size);
//! - passers-by, told once and new in each pass: they teach a model to spread its belief over a stranger instead of guessing;
//! - people with two conflicting biographies ([`Group::Ambiguous`]) and people about whom only falsehoods are told
//!   ([`Group::Wrong`]).
//!
//! Half of the people have their questions in the training text; the questions about the others are the test. Everything
//! follows from [`WorldConfig::seed`]: every person, wording and shuffle has a random stream of its own, so a changed knob
//! changes what it names and nothing else.

mod attribute;
mod config;
mod documents;
mod grade;
mod names;
mod people;
mod pools;
mod questions;
mod streams;
mod templates;
mod write;

use std::path::{Path, PathBuf};

pub use attribute::{Attribute, Facts};
pub use config::{ExposureLevel, WorldConfig};
pub use documents::{Document, Kind};
pub use grade::{Grade, grade, normalised};
pub use names::{Name, Pronoun};
pub use people::{Group, Person, Split};
pub use pools::{PoolSizes, Pools};
pub use questions::{Fact, Question};
pub use write::{FileEntry, MANIFEST, Manifest};

use people::Census;
use streams::Streams;
use templates::Wording;

/// Why a world could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A knob is out of its limits.
    #[error("world: {0}")]
    Config(String),
    /// A file could not take its place.
    #[error(transparent)]
    Fs(#[from] coppice_models::fs::FsError),
    /// A file could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl WorldError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}

/// Result with [`WorldError`].
pub type Result<T> = std::result::Result<T, WorldError>;

/// People, their facts, and the means to put them into words. Documents and questions are worded when asked for.
#[derive(Debug, Clone)]
pub struct World {
    config: WorldConfig,
    streams: Streams,
    pools: Pools,
    people: Vec<Person>,
    /// By pass; the one after the last belongs to the validation documents.
    passers_by: Vec<Vec<Person>>,
}

impl World {
    /// The world of this recipe.
    ///
    /// # Errors
    /// [`WorldError::Config`] from [`WorldConfig::validate`].
    pub fn generate(config: WorldConfig) -> Result<Self> {
        config.validate()?;
        let streams = Streams::new(config.seed);
        let pools = Pools::compose(&config.pools, &streams);
        let mut census = Census::new(&config, &pools, &streams);
        let people = census.people();
        let passers_by = (0..=config.passes).map(|pass| census.passers_by(pass)).collect();
        Ok(Self { config, streams, pools, people, passers_by })
    }

    /// The recipe.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// All possible answers.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Everyone but the passers-by, level by level.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// The strangers told once, in pass `pass`; none for a pass the world does not have.
    pub fn passers_by(&self, pass: usize) -> &[Person] {
        self.passers_by.get(pass).map_or(&[], Vec::as_slice)
    }

    /// Bits the training text asks a model to store about the people told more than in passing: for N people with names out of
    /// N₀, N log2(N₀ / N) for the names and log2(pool size) for each free attribute of each biography (arXiv 2404.05405).
    pub fn demanded_bits(&self) -> f64 {
        let told: Vec<_> = self.people.iter().filter(|person| !person.told.is_empty()).collect();
        let biographies: usize = told.iter().map(|person| person.told.len()).sum();
        let names = told.len() as f64 * (names::NAME_SPACE as f64 / told.len().max(1) as f64).log2();
        names + biographies as f64 * self.pools.bits_per_person()
    }

    fn wording(&self) -> Wording<'_> {
        let WorldConfig { templates, pronoun_share, question_forms, .. } = self.config;
        Wording { pools: &self.pools, templates, pronoun_share, question_forms }
    }
}
