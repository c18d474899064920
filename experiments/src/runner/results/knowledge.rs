//! What every arm knows about people, by how often it was told of them.

use std::collections::BTreeMap;

use coppice_detect::metrics::binomial_interval;
use coppice_reports::data::{Interval, Knowledge};
use coppice_upcycle::world::{Grade, Group};

use super::{CONFIDENCE, Examined};
use crate::runner::answers::{Answered, PoolBelief};
use crate::runner::questions::is_headline;
use crate::runner::recipe::Recipe;

/// A group of people as the knowledge table shows it: arm, group, exposures in each pass and in all.
type Stratum = (String, Group, usize, usize);

/// What every arm knows about every group of people, over all its seeds.
pub fn knowledge(recipe: &Recipe, examined: &[Examined]) -> Vec<Knowledge> {
    let mut counts: BTreeMap<Stratum, (u64, u64)> = BTreeMap::new();
    for model in examined {
        // The pre-trained model has not seen the passes of the continuation.
        let passes = if model.trained.grown.arm.is_none() { recipe.pretrain.passes } else { recipe.world.passes };
        for Answered { question, grade, .. } in &model.answered {
            let per_pass = if is_headline(question) { question.exposures_per_pass } else { 0 };
            let told = (per_pass, per_pass * passes);
            let count = counts.entry((model.name.clone(), question.group, told.0, told.1)).or_default();
            count.0 += u64::from(*grade == Grade::Correct);
            count.1 += 1;
        }
    }
    counts.into_iter().map(|(stratum, counts)| knowledge_row(examined, stratum, counts)).collect()
}

fn knowledge_row(examined: &[Examined], (arm, group, per_pass, exposures): Stratum, (right, all): (u64, u64)) -> Knowledge {
    let label = match group {
        Group::Known => format!("told {exposures} times"),
        Group::Never => "never told".into(),
        Group::Ambiguous => "told two conflicting lives (either is right)".into(),
        Group::Wrong => "told falsely (judged by the truth)".into(),
    };
    let beliefs = examined.iter().filter(|model| model.name == arm).flat_map(|model| &model.beliefs);
    let entropy = mean_ratio(beliefs.filter(|belief| belief.group == group && belief.exposures_per_pass == per_pass));
    let interval = binomial_interval(right, all, CONFIDENCE).ok().map(|found| Interval { low: found.low, high: found.high });
    let exposures = matches!(group, Group::Known | Group::Never).then_some(exposures as u64);
    Knowledge { arm, group: label, exposures, questions: all, correct: Some(right as f64 / all as f64), interval, entropy }
}

/// Mean of entropy over ln(pool size).
pub fn mean_ratio<'a>(beliefs: impl Iterator<Item = &'a PoolBelief>) -> Option<f64> {
    let ratios: Vec<f64> = beliefs.map(|belief| belief.entropy / (belief.pool_size as f64).ln()).collect();
    (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64)
}
