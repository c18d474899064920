//! HaloScope: unlabelled responses part by themselves along the leading directions of their hidden states; a few labels say which side is wrong.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Place, States, check_labels, label, table};
use super::{parameters, read};
use crate::learn::FitError;
use crate::learn::folds::folds;
use crate::learn::mlp::{Mlp, MlpSettings};
use crate::learn::pca::Pca;
use crate::learn::standardise::Standardiser;
use crate::metrics;
use crate::record::Record;
use crate::scores::{Card, Case, Cost, Learned, Missing, Model, Scorer, Training};

const NAME: &str = "haloscope";
/// The most directions that are tried.
const MAX_COMPONENTS: usize = 10;
/// One part in so many, whole groups, gives its labels; the labels of the other parts are not looked at.
const PARTS: usize = 4;

/// Log-odds of the suspect side, by a network of one hidden layer on the last token's state of a middle layer.
pub(super) struct Haloscope;

impl Scorer for Haloscope {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &["hidden[].last"],
            cost: Cost::OnePass,
            citation: "Du et al. 2024 (arXiv 2409.17504); deeplearning-wisc/haloscope",
            summary: "log-odds of the suspect side of unlabelled responses, parted along their leading directions; learned, few labels",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for Haloscope {
    fn supervised(&self) -> bool {
        true
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        let states = States::middle(&training.records, Place::Last)?;
        let (wild, validation) = parted(training);
        let wild = table(&wild, 8, |record| Ok((states.of(record)?, ())))?;
        let labelled = table(&validation, 4, |record| Ok((states.of(record)?, label(record)?)))?;
        check_labels(&labelled.beside)?;
        if wild.rows.ncols() != labelled.rows.ncols() {
            let id = validation.first().map_or(String::new(), |record| record.id.clone());
            return Err(FitError::Width { id, expected: wild.rows.ncols(), found: labelled.rows.ncols() });
        }
        let pca = Pca::fit(wild.rows.view(), MAX_COMPONENTS, training.seed)?;
        let rows: Vec<Vec<f64>> = labelled.rows.rows().into_iter().map(|row| row.to_vec()).collect();
        let split = Split::choose(&pca, &rows, &labelled.beside)?;
        let suspect: Vec<bool> = wild.rows.rows().into_iter().map(|row| split.membership(&pca, &row.to_vec()) >= split.threshold).collect();
        if suspect.iter().all(|&one| one) || !suspect.contains(&true) {
            return Err(FitError::SingleClass { items: suspect.len(), class: "on one side of the split" });
        }
        let scale = Standardiser::fit(wild.rows.view());
        let network = Mlp::train(scale.apply_all(wild.rows.view()).view(), &suspect, &settings(training.seed))?;
        Ok(Box::new(Sides { states, split, scale, network }))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Sides>(value)
    }
}

/// The authors' network and epochs; Adam takes the place of their SGD with a cosine schedule.
fn settings(seed: u64) -> MlpSettings {
    MlpSettings { hidden: vec![1024], epochs: 50, batch: 512, learning_rate: 1e-3, weight_decay: 3e-4, seed }
}

/// The records whose labels are not looked at, and those whose are.
fn parted<'a>(training: &Training<'a>) -> (Vec<&'a Record>, Vec<&'a Record>) {
    let wrong: Vec<bool> = training.records.iter().map(|record| record.wrong() == Some(true)).collect();
    let fold = folds(&training.groups, &wrong, PARTS, training.seed);
    let labelled = |place: usize| fold.get(place) == Some(&0) && training.records[place].label.is_some();
    let (validation, wild) = (0..training.records.len()).partition::<Vec<usize>, _>(|&place| labelled(place));
    let at = |places: Vec<usize>| places.into_iter().map(|place| training.records[place]).collect();
    (at(wild), at(validation))
}

/// How membership is measured and where it parts the responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Split {
    components: usize,
    /// 1 where wrong responses lie farther out, −1 where they lie farther in.
    sign: f64,
    threshold: f64,
}

impl Split {
    /// The number of directions and the sign of highest AUROC on the labelled part, and the threshold of highest balanced accuracy there.
    fn choose(pca: &Pca, rows: &[Vec<f64>], wrong: &[bool]) -> Result<Self, FitError> {
        let mut best: Option<(f64, Self)> = None;
        for components in 1..=pca.singular_values.len() {
            for sign in [1.0, -1.0] {
                let split = Self { components, sign, threshold: 0.0 };
                let memberships: Vec<f64> = rows.iter().map(|row| split.membership(pca, row)).collect();
                let auroc = metrics::auroc(&memberships, wrong).map_err(|error| FitError::Unfit(error.to_string()))?;
                if best.as_ref().is_none_or(|(highest, _)| auroc > *highest) {
                    best = Some((auroc, Self { threshold: best_threshold(&memberships, wrong), ..split }));
                }
            }
        }
        best.map(|(_, split)| split).ok_or_else(|| FitError::Unfit("the states have no direction".into()))
    }

    /// ± mean over the leading components of σ ⟨f − μ, v⟩² (equation 5 of the paper).
    fn membership(&self, pca: &Pca, row: &[f64]) -> f64 {
        let along = pca.project(row);
        let terms = along.iter().zip(&pca.singular_values).take(self.components).map(|(along, sigma)| sigma * along * along);
        self.sign * terms.sum::<f64>() / self.components as f64
    }
}

/// Of the values, the one from which on "wrong" is right most often, both classes weighing the same.
fn best_threshold(values: &[f64], wrong: &[bool]) -> f64 {
    let share = |class: bool, from: f64| {
        let of_class = values.iter().zip(wrong).filter(|&(_, &wrong)| wrong == class);
        of_class.clone().filter(|&(&value, _)| value >= from).count() as f64 / of_class.count().max(1) as f64
    };
    let accuracy = |from: f64| share(true, from) - share(false, from);
    values.iter().copied().max_by(|&a, &b| accuracy(a).total_cmp(&accuracy(b)).then(b.total_cmp(&a))).unwrap_or(0.0)
}

#[derive(Debug, Serialize, Deserialize)]
struct Sides {
    states: States,
    split: Split,
    scale: Standardiser,
    network: Mlp,
}

impl Model for Sides {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(self.network.log_odds_of(&self.scale.apply(&self.states.sized(case.record, self.network.inputs())?)))
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        let side = if self.split.sign > 0.0 { "outer" } else { "inner" };
        format!("{}, the {side} side along {} directions is suspect", self.states, self.split.components)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_parts_the_classes() {
        assert_eq!(best_threshold(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, true]), 3.0);
        assert_eq!(best_threshold(&[1.0, 2.0, 3.0, 4.0], &[false, true, false, true]), 2.0);
    }
}
