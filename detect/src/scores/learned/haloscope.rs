//! HaloScope: unlabelled responses part by themselves along the leading directions of their hidden states; a few labels say which side is wrong.

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Place, States, Table, check_labels, label, table};
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
        let wild = table(&wild, 8, |record| Ok((states.of(record)?, ())))?.rows;
        let labelled = labelled(&validation, states, wild.ncols())?;
        let pca = Pca::fit(wild.view(), MAX_COMPONENTS, training.seed)?;
        let split = Split::choose(&pca, &labelled)?;
        let suspect = split.suspect(&pca, &wild)?;
        let scale = Standardiser::fit(wild.view());
        let network = Mlp::train(scale.apply_all(wild.view()).view(), &suspect, &settings(training.seed))?;
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

/// States and labels of the validation part, of as many dimensions as those of the other part.
fn labelled(validation: &[&Record], states: States, expected: usize) -> Result<Table<bool>, FitError> {
    let found = table(validation, 4, |record| Ok((states.of(record)?, label(record)?)))?;
    check_labels(&found.beside)?;
    match validation.first() {
        Some(first) if found.rows.ncols() != expected => Err(FitError::Width { id: first.id.clone(), expected, found: found.rows.ncols() }),
        _ => Ok(found),
    }
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
    fn choose(pca: &Pca, labelled: &Table<bool>) -> Result<Self, FitError> {
        let wrong = &labelled.beside;
        let mut best: Option<(f64, Self)> = None;
        for (components, sign) in (1..=pca.singular_values.len()).flat_map(|k| [(k, 1.0), (k, -1.0)]) {
            let split = Self { components, sign, threshold: 0.0 };
            let memberships = split.memberships(pca, &labelled.rows);
            let auroc = metrics::auroc(&memberships, wrong).map_err(|error| FitError::Unfit(error.to_string()))?;
            if best.as_ref().is_none_or(|(highest, _)| auroc > *highest) {
                best = Some((auroc, Self { threshold: best_threshold(&memberships, wrong), ..split }));
            }
        }
        best.map(|(_, split)| split).ok_or_else(|| FitError::Unfit("the states have no direction".into()))
    }

    /// Which rows lie on the suspect side; both sides have some.
    fn suspect(&self, pca: &Pca, rows: &Array2<f64>) -> Result<Vec<bool>, FitError> {
        let found: Vec<bool> = self.memberships(pca, rows).into_iter().map(|membership| membership >= self.threshold).collect();
        match found.first() {
            Some(first) if found.iter().any(|other| other != first) => Ok(found),
            _ => Err(FitError::SingleClass { items: found.len(), class: "on one side of the split" }),
        }
    }

    fn memberships(&self, pca: &Pca, rows: &Array2<f64>) -> Vec<f64> {
        rows.rows().into_iter().map(|row| self.membership(pca, &row.to_vec())).collect()
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
    fn membership_in_closed_form() {
        // Singular values √32 and √8 along the axes about the mean (1, 1).
        let states = ndarray::array![[5.0, 1.0], [-3.0, 1.0], [1.0, 3.0], [1.0, -1.0]];
        let pca = Pca::fit(states.view(), 2, 0).expect("four rows");
        let membership = |components, sign| Split { components, sign, threshold: 0.0 }.membership(&pca, &[3.0, 2.0]);
        assert!((membership(1, 1.0) - 32f64.sqrt() * 4.0).abs() < 1e-9);
        assert!((membership(2, -1.0) + (32f64.sqrt() * 4.0 + 8f64.sqrt()) / 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_threshold_parts_the_classes() {
        assert_eq!(best_threshold(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, true]), 3.0);
        assert_eq!(best_threshold(&[1.0, 2.0, 3.0, 4.0], &[false, true, false, true]), 2.0);
    }
}
