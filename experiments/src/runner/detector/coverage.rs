//! Promises put to the test. On many random partings of people whom the probabilities were not fitted on, thresholds are set on half of them,
//! one answer each, and looked at on the others.

use anyhow::Result;
use coppice_detect::calibration::Calibrator;
use coppice_detect::guarantee::{candidates, conformal_quantile, control_risk, selective_risk};
use coppice_models::init::stream;
use coppice_reports::data::Coverage;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::super::recipe::DetectorRecipe;
use super::scored::Scored;

/// An answer's probability of being wrong, and whether it is.
type Answer = (f64, bool);

/// People with their answers.
pub struct Pool {
    people: Vec<Vec<Answer>>,
}

impl Pool {
    /// The answers at `items` that have the calibrator's score, by person.
    pub fn new(answers: &[&Scored], items: &[usize], calibrator: &Calibrator) -> Self {
        let mut people = std::collections::BTreeMap::<&str, Vec<Answer>>::new();
        for answer in items.iter().filter_map(|&item| answers.get(item)) {
            let Some(&score) = answer.scores.get(&calibrator.score) else { continue };
            people.entry(&answer.question.person).or_default().push((calibrator.calibration.probability(score), answer.wrong));
        }
        Self { people: people.into_values().collect() }
    }

    fn all(&self) -> Vec<Answer> {
        self.people.concat()
    }

    /// One answer of each person, those of a random half of the people apart from those of the others.
    fn parted(&self, seed: u64, parting: usize) -> (Vec<Answer>, Vec<Answer>) {
        let mut rng = stream(seed, &format!("parting {parting}"));
        let mut drawn: Vec<Answer> = self.people.iter().map(|answers| answers[rng.random_range(0..answers.len())]).collect();
        drawn.shuffle(&mut rng);
        let others = drawn.split_off(drawn.len() / 2);
        (drawn, others)
    }
}

/// What became of the three promises on the second of `parts`; the first is where the selective risk's thresholds come from.
pub fn coverage(parts: &[Pool; 2], recipe: &DetectorRecipe) -> Result<Coverage> {
    let [fitted, judged] = parts;
    let (others, population, alpha) = (fitted.all(), judged.all(), recipe.alpha);
    let (mut sums, mut squares) = ([0.0; 4], [0.0; 4]);
    for parting in 0..recipe.partings {
        let (calibration, test) = judged.parted(recipe.seed, parting);
        let selective = selective_threshold(&calibration, &others, recipe)?;
        let found = [
            right_kept(&calibration, &test, alpha)?,
            accepted_and_wrong(&calibration, &test, alpha)?,
            f64::from(wrong_among_accepted(&population, selective) <= alpha),
            share(&population, |(p, _)| p <= selective),
        ];
        sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        squares.iter_mut().zip(found).for_each(|(sum, found)| *sum += found * found);
    }
    let n = recipe.partings as f64;
    let [right_kept, accepted_and_wrong, selective_kept, accepted] = sums.map(|sum| sum / n);
    let error = |mean: f64, squares: f64| ((squares / n - mean * mean).max(0.0) / n).sqrt();
    Ok(Coverage {
        partings: recipe.partings,
        people: judged.people.len(),
        right_kept,
        right_kept_error: error(right_kept, squares[0]),
        accepted_and_wrong,
        accepted_and_wrong_error: error(accepted_and_wrong, squares[1]),
        selective_kept,
        accepted,
    })
}

/// Split conformal: of the right answers, how many lie below a threshold that should hold at least 1 − α of them.
fn right_kept(calibration: &[Answer], test: &[Answer], alpha: f64) -> Result<f64> {
    let right = |answers: &[Answer]| answers.iter().filter(|(_, wrong)| !wrong).map(|&(p, _)| p).collect::<Vec<f64>>();
    let threshold = conformal_quantile(&right(calibration), alpha)?.unwrap_or(f64::INFINITY);
    let test = right(test);
    Ok(test.iter().filter(|&&p| p <= threshold).count() as f64 / test.len().max(1) as f64)
}

/// Conformal risk control: how many of all answers are accepted and wrong; it should be at most α in expectation.
fn accepted_and_wrong(calibration: &[Answer], test: &[Answer], alpha: f64) -> Result<f64> {
    let (probabilities, wrong): (Vec<f64>, Vec<bool>) = calibration.iter().copied().unzip();
    let threshold = control_risk(&probabilities, &wrong, alpha, 1.0)?.map_or(f64::NEG_INFINITY, |certified| certified.threshold);
    Ok(share(test, |(p, wrong)| p <= threshold && wrong))
}

/// The threshold below which at most a share α is shown to be wrong; nothing is accepted where none can be shown.
fn selective_threshold(calibration: &[Answer], others: &[Answer], recipe: &DetectorRecipe) -> Result<f64> {
    let &DetectorRecipe { alpha, confidence, .. } = recipe;
    let (probabilities, wrong): (Vec<f64>, Vec<bool>) = calibration.iter().copied().unzip();
    let (other_probabilities, other_wrong): (Vec<f64>, Vec<bool>) = others.iter().copied().unzip();
    let thresholds = candidates(&other_probabilities, &other_wrong, wrong.len(), alpha, confidence)?;
    let certified = selective_risk(&probabilities, &wrong, &thresholds, alpha, confidence)?.pop();
    Ok(certified.map_or(f64::NEG_INFINITY, |certified| certified.threshold))
}

fn wrong_among_accepted(answers: &[Answer], threshold: f64) -> f64 {
    let accepted: Vec<&Answer> = answers.iter().filter(|(p, _)| *p <= threshold).collect();
    accepted.iter().filter(|(_, wrong)| *wrong).count() as f64 / accepted.len().max(1) as f64
}

fn share(answers: &[Answer], counts: impl Fn(Answer) -> bool) -> f64 {
    answers.iter().filter(|&&answer| counts(answer)).count() as f64 / answers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use coppice_models::init::stream;

    /// People of one answer each that is wrong with the probability given to it.
    fn pool(n: usize, name: &str) -> Pool {
        let mut rng = stream(1, name);
        let person = |_| {
            let p: f64 = rng.random_range(0.0..1.0);
            vec![(p * p, rng.random_range(0.0..1.0) < p * p)]
        };
        Pool { people: (0..n).map(person).collect() }
    }

    #[test]
    fn promises_hold_where_people_are_alike() {
        let recipe = DetectorRecipe { partings: 400, ..DetectorRecipe::default() };
        let found = coverage(&[pool(300, "fitted"), pool(1000, "judged")], &recipe).unwrap();
        let error = 3.0 * (0.1 * 0.9 / 400_f64).sqrt();
        assert!(found.right_kept > 0.9 - 0.005 && found.right_kept < 0.92, "{found:?}");
        assert!(found.accepted_and_wrong < 0.1 + 0.005 && found.accepted_and_wrong > 0.08, "{found:?}");
        assert!(found.selective_kept > 0.9 - error && found.accepted > 0.3, "{found:?}");
    }

    #[test]
    fn a_threshold_at_the_far_end_breaks_the_promise() {
        let answers = [(0.9, true), (0.2, false), (0.1, false)];
        assert!((wrong_among_accepted(&answers, 1.0) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(wrong_among_accepted(&answers, f64::NEG_INFINITY), 0.0);
    }
}
