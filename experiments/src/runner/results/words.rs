//! The report's sentences: the answer, what the run asserts about itself, how to read the figures, what they do not show.

use coppice_reports::data::{Arm, Check, Comparison};
use coppice_upcycle::world::{Group, World};

use super::knowledge::mean_ratio;
use super::{Examined, SEEDS_FOR_INTERVAL};
use crate::runner::recipe::Recipe;

/// Bits of facts that a parameter stores when each is told a hundred times (arXiv 2404.05405, section 3.3).
const ROOM_AT_100_EXPOSURES: f64 = 1.0;

/// What the run asserts about the pre-trained model and every arm.
pub fn checks(examined: &[Examined]) -> Vec<Check> {
    let ratio = |group: Group| mean_ratio(examined.iter().flat_map(|model| &model.beliefs).filter(|belief| belief.group == group));
    let worst = examined.iter().filter_map(|model| model.judged.best().map(|best| (best.1, best.0, &model.name)));
    let worst = worst.min_by(|a, b| a.0.total_cmp(&b.0));
    let check = |name: &str, expected: &str, found: Option<f64>, holds: &dyn Fn(f64) -> bool| Check {
        name: name.into(),
        expected: expected.into(),
        found: found.map_or_else(|| "not measured".into(), |found| format!("{found:.3}")),
        passed: found.is_some_and(holds),
    };
    vec![
        check(
            "Entropy over the pool's answers, people never told, mean of all models / ln(pool)",
            "at least 0.85",
            ratio(Group::Never),
            &|found| found >= 0.85,
        ),
        check("The same, people told most often", "at most 0.2", ratio(Group::Known), &|found| found <= 0.2),
        Check {
            name: "AUROC of the best single-pass score, worst of all models".into(),
            expected: "at least 0.90".into(),
            found: worst.as_ref().map_or_else(|| "not measured".into(), |(auroc, score, arm)| format!("{auroc:.3} ({score}, {arm})")),
            passed: worst.is_some_and(|worst| worst.0 >= 0.90),
        },
    ]
}

/// The answer in sentences; the first is the headline.
pub fn summary(arms: &[Arm], comparisons: &[Comparison]) -> Vec<String> {
    let label = |name: &str| arms.iter().find(|arm| arm.name == name).map_or(name.to_owned(), |arm| arm.label.clone());
    let mut sentences: Vec<String> = comparisons.iter().filter_map(|comparison| verdict(comparison, &label(&comparison.arm))).collect();
    let best = arms
        .iter()
        .flat_map(|arm| &arm.seeds)
        .filter_map(|seed| seed.best_auroc)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), found| (low.min(found), high.max(found)));
    if best.0.is_finite() {
        sentences.push(format!(
            "The best single-pass score tells wrong from right answers with an AUROC of {:.3} to {:.3}, depending on the model.",
            best.0, best.1
        ));
    }
    sentences
}

fn verdict(comparison: &Comparison, label: &str) -> Option<String> {
    let (difference, interval) = (comparison.difference? * 100.0, comparison.interval?);
    let (low, high) = (interval.low * 100.0, interval.high * 100.0);
    let finding = if low > 0.0 {
        "knows more than the dense control continued on the same tokens"
    } else if high < 0.0 {
        "knows less than the dense control continued on the same tokens"
    } else {
        "cannot be told from the dense control continued on the same tokens"
    };
    Some(format!(
        "{label} {finding}: {difference:+.1} points of facts known (95 % interval {low:+.1} to {high:+.1}, paired over questions)."
    ))
}

pub fn notes(recipe: &Recipe, world: &World, examined: &[Examined]) -> Vec<String> {
    let density = density(recipe, world);
    let planted = examined.first().map_or(0, |model| model.answered.len() - model.headline().count());
    vec![
        format!("The world demands {:.0} bits of facts, {density:.2} per non-embedding parameter of the dense model; about 1 can be stored when each is told a hundred times, 2 at a thousand (arXiv 2404.05405).", world.demanded_bits()),
        format!("{planted} questions a model are about planted people (conflicting or false biographies); headline figures leave them out, the knowledge table has them."),
        "Questions are about people whose questions were never in training, only their biographies; answers are graded by exact match with the true table.".into(),
        "Entropy over the pool: the probabilities of all answers of the question's pool, normalised over the pool, against ln(pool size).".into(),
        "Seeds change the routers' initial weights and the order of the batches in continued training; dense pre-training is shared.".into(),
    ]
}

/// Bits of facts that the world demands of each non-embedding parameter of the dense model: attention and MLP matrices, without biases and
/// norms.
fn density(recipe: &Recipe, world: &World) -> f64 {
    let (hidden, width) = (recipe.model.hidden_size as f64, recipe.model.intermediate_size as f64);
    world.demanded_bits() / (recipe.model.num_hidden_layers as f64 * (4.0 * hidden.powi(2) + 3.0 * hidden * width))
}

pub fn limits(recipe: &Recipe, world: &World) -> Vec<String> {
    let mut limits = vec![
        "A small model on a synthetic world: the shape of the comparison carries over to StableLM 2 1.6B, the figures do not.".to_owned(),
    ];
    if recipe.seeds.len() < SEEDS_FOR_INTERVAL {
        limits.push(format!("{} seeds give a range, no interval over seeds; intervals are over questions.", recipe.seeds.len()));
    }
    let (layers, density) = (recipe.model.num_hidden_layers, density(recipe, world));
    limits.push(if density < ROOM_AT_100_EXPOSURES {
        format!("With {layers} layers and few exposures the demo is limited by how often facts are told, not by how many the model could hold, so extra experts have little to add here.")
    } else {
        format!("The dense model has {layers} layers and is asked to hold {density:.2} bits a parameter: more than the {ROOM_AT_100_EXPOSURES} it stores at a hundred exposures (arXiv 2404.05405), so room is what it lacks.")
    });
    limits
}
