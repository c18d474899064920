//! The people of a world: who they are, what is true of them, and what is told about them.

use std::collections::HashSet;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use super::attribute::Facts;
use super::config::{ExposureLevel, WorldConfig};
use super::names::{Name, draw_name};
use super::pools::Pools;
use super::streams::Streams;

/// What the training text says about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The truth.
    Known,
    /// Nothing: every answer is made up.
    Never,
    /// Planted: the truth and a contradiction of every fact, equally often. Either value counts as right.
    Ambiguous,
    /// Planted: a falsehood for every fact, always the same one.
    Wrong,
}

/// Whether a person's questions stand in the training text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Questions with answers are trained on, beside the biographies.
    Train,
    /// Only the biographies are trained on, if anything is.
    Test,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Stands for the person in files: exposures per pass and number within the level, for example `x20-007`.
    pub id: String,
    /// Full name (unique in the world) and pronoun.
    pub name: Name,
    /// Biographies in each pass.
    pub exposures_per_pass: usize,
    /// What is told.
    pub group: Group,
    /// Whether questions are trained on.
    pub split: Split,
    /// The true table's facts.
    pub truth: Facts,
    /// The facts that biographies take turns to tell; empty for a person never seen.
    pub told: Vec<Facts>,
    /// Names the person's random streams.
    pub(super) key: [usize; 2],
}

impl Person {
    /// The facts told at the `exposure`-th time over all passes; none for a person never seen.
    pub(super) fn telling(&self, exposure: usize) -> Option<&Facts> {
        self.told.get(exposure % self.told.len().max(1))
    }

    /// All facts that count as right: the truth, and for an ambiguous person the contradiction too.
    pub(super) fn accepted(&self) -> &[Facts] {
        if self.group == Group::Ambiguous { &self.told } else { std::slice::from_ref(&self.truth) }
    }
}

/// Draws people with unused names.
#[derive(Debug)]
pub(super) struct Census<'a> {
    config: &'a WorldConfig,
    pools: &'a Pools,
    streams: &'a Streams,
    taken: HashSet<String>,
}

impl<'a> Census<'a> {
    /// A census with no name taken yet.
    pub(super) fn new(config: &'a WorldConfig, pools: &'a Pools, streams: &'a Streams) -> Self {
        Self { config, pools, streams, taken: HashSet::new() }
    }

    /// The people of all levels, level by level.
    pub(super) fn people(&mut self) -> Vec<Person> {
        self.config.levels.iter().flat_map(|level| self.level(level)).collect()
    }

    /// The passers-by of one pass: told once, the truth.
    pub(super) fn passers_by(&mut self, pass: usize) -> Vec<Person> {
        let count = self.config.passers_by_per_pass;
        let asked = share_of(self.config.passers_by_question_share, count);
        let split = |index| if index < asked { Split::Train } else { Split::Test };
        (0..count).map(|index| self.passer_by([pass, index], split(index))).collect()
    }

    fn level(&mut self, level: &ExposureLevel) -> Vec<Person> {
        let exposures = level.exposures_per_pass;
        let facts = self.pools.deal_facts(level.people, exposures, self.streams);
        let numbered = self.places(level).into_iter().zip(facts).enumerate();
        numbered.map(|(index, (place, truth))| self.person([exposures, index], place, truth)).collect()
    }

    /// Who in a level is planted and who is trained on questions: shuffled, and in equal shares of every group.
    fn places(&self, level: &ExposureLevel) -> Vec<(Group, Split)> {
        if level.exposures_per_pass == 0 {
            return vec![(Group::Never, Split::Test); level.people];
        }
        let ambiguous = share_of(self.config.ambiguous_share, level.people);
        let wrong = share_of(self.config.wrong_share, level.people);
        let groups = [(Group::Ambiguous, ambiguous), (Group::Wrong, wrong), (Group::Known, level.people - ambiguous - wrong)];
        let mut places: Vec<_> = groups.into_iter().flat_map(|(group, people)| self.halves(group, people)).collect();
        places.shuffle(&mut self.streams.rng("places", &[level.exposures_per_pass]));
        places
    }

    fn halves(&self, group: Group, people: usize) -> Vec<(Group, Split)> {
        let train = share_of(self.config.question_share, people);
        (0..people).map(|index| (group, if index < train { Split::Train } else { Split::Test })).collect()
    }

    fn person(&mut self, key: [usize; 2], (group, split): (Group, Split), truth: Facts) -> Person {
        let mut rng = self.streams.rng("person", &key);
        let name = self.unused_name(&mut rng);
        let other = self.pools.draw_other_facts(&truth, &mut rng);
        let told = match group {
            Group::Known => vec![truth],
            Group::Never => Vec::new(),
            Group::Ambiguous => vec![truth, other],
            Group::Wrong => vec![other],
        };
        let id = format!("x{}-{:03}", key[0], key[1]);
        Person { id, name, exposures_per_pass: key[0], group, split, truth, told, key }
    }

    fn passer_by(&mut self, key: [usize; 2], split: Split) -> Person {
        let mut rng = self.streams.rng("passer-by", &key);
        let name = self.unused_name(&mut rng);
        let truth = self.pools.draw_facts(&mut rng);
        let id = format!("p{}-{:03}", key[0], key[1]);
        Person { id, name, exposures_per_pass: 1, group: Group::Known, split, truth, told: vec![truth], key }
    }

    /// Ends soon: [`WorldConfig::validate`] keeps at least half of the names unused.
    fn unused_name(&mut self, rng: &mut ChaCha12Rng) -> Name {
        loop {
            let name = draw_name(rng);
            if self.taken.insert(name.full.clone()) {
                return name;
            }
        }
    }
}

/// `share` of `count`, rounded down.
fn share_of(share: f64, count: usize) -> usize {
    (share * count as f64 + 1e-9).floor() as usize
}
