//! Some of the people, for what must not be judged on those it learnt from.

use std::collections::{BTreeMap, BTreeSet};

use coppice_models::init::stream;
use coppice_upcycle::world::Question;
use rand::seq::SliceRandom;

/// A share of the people of every group and exposure level; `what` for tells one draw from another.
pub fn some_people<'q>(questions: impl Iterator<Item = &'q Question>, share: f64, seed: u64, what: &str) -> BTreeSet<String> {
    let mut strata: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for question in questions {
        strata.entry((question.group, question.exposures_per_pass)).or_default().insert(&question.person);
    }
    let chosen = strata.into_iter().flat_map(|(stratum, people)| {
        let mut people: Vec<&str> = people.into_iter().collect();
        people.shuffle(&mut stream(seed, &format!("people {what} {stratum:?}")));
        people.truncate((people.len() as f64 * share).round() as usize);
        people
    });
    chosen.map(str::to_owned).collect()
}
