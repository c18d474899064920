//! Which of the world's test questions every model is asked.

use anyhow::{Result, bail};
use coppice_models::init::stream;
use coppice_upcycle::world::{Group, Question, Split, World};
use rand::seq::SliceRandom;

use super::recipe::DetectRecipe;

/// Whether headline figures count a question: the planted groups have rows of their own.
pub fn is_headline(question: &Question) -> bool {
    matches!(question.group, Group::Known | Group::Never)
}

/// The questions asked: of the test split, drawn evenly over exposure levels (headline groups) and over the planted groups.
pub fn choose(world: &World, recipe: &DetectRecipe) -> Result<Vec<Question>> {
    let (headline, planted): (Vec<_>, Vec<_>) = world.questions().filter(|question| question.split == Split::Test).partition(is_headline);
    let planted_count = (recipe.questions as f64 * recipe.planted_share).round() as usize;
    let mut chosen = evenly(headline, recipe.questions - planted_count.min(planted.len()), recipe.seed);
    chosen.extend(evenly(planted, planted_count, recipe.seed));
    if chosen.is_empty() {
        bail!("the world has no test questions; give it people of the test split (question_share below 1)");
    }
    Ok(chosen)
}

/// Up to `count` questions, one from each stratum in turn, in a seeded order within it.
fn evenly(questions: Vec<Question>, count: usize, seed: u64) -> Vec<Question> {
    let mut strata: std::collections::BTreeMap<_, Vec<Question>> = std::collections::BTreeMap::new();
    for question in questions {
        strata.entry((question.group, question.exposures_per_pass)).or_default().push(question);
    }
    for (stratum, questions) in &mut strata {
        questions.shuffle(&mut stream(seed, &format!("questions {stratum:?}")));
    }
    let mut chosen = Vec::new();
    while chosen.len() < count && strata.values().any(|left| !left.is_empty()) {
        let round = strata.values_mut().filter_map(Vec::pop).take(count - chosen.len());
        chosen.extend(round.collect::<Vec<_>>());
    }
    chosen
}
