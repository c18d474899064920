//! SAPLMA: a network that reads from a hidden state whether the model believes what it says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Place, States, check_labels, label, table};
use super::{parameters, read};
use crate::learn::FitError;
use crate::learn::mlp::{Mlp, MlpSettings};
use crate::learn::standardise::Standardiser;
use crate::scores::{Card, Case, Cost, Learned, Missing, Model, Scorer, Training};

const NAME: &str = "saplma";
/// The authors train five epochs in batches of 32 on some thousand statements; fewer records are gone through as often as makes as many steps.
const EPOCHS: usize = 5;
const BATCH: usize = 32;
const STEPS: usize = 1000;

/// Log-odds of a wrong response, by a network of 256, 128 and 64 units on the last token's state of a middle layer.
pub(super) struct Saplma;

impl Scorer for Saplma {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &["hidden[].last"],
            cost: Cost::OnePass,
            citation: "Azaria and Mitchell 2023 (arXiv 2304.13734)",
            summary: "log-odds of wrong, by a small network on the last token's hidden state of a middle layer; learned from labels",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for Saplma {
    fn supervised(&self) -> bool {
        true
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        let states = States::middle(&training.records, Place::Last)?;
        let found = table(&training.records, 4, |record| Ok((states.of(record)?, label(record)?)))?;
        check_labels(&found.beside)?;
        let scale = Standardiser::fit(found.rows.view());
        let settings = MlpSettings {
            hidden: vec![256, 128, 64],
            epochs: EPOCHS.max(STEPS / found.beside.len().div_ceil(BATCH)),
            batch: BATCH,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            seed: training.seed,
        };
        let network = Mlp::train(scale.apply_all(found.rows.view()).view(), &found.beside, &settings)?;
        Ok(Box::new(Network { states, scale, network }))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Network>(value)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Network {
    states: States,
    scale: Standardiser,
    network: Mlp,
}

impl Model for Network {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(self.network.log_odds_of(&self.scale.apply(&self.states.sized(case.record, self.network.inputs())?)))
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        format!("{}, {} numbers", self.states, self.network.inputs())
    }
}
