//! A logistic regression over other scores: what each of them adds to the others.

use std::collections::BTreeMap;

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::check_labels;
use super::{parameters, read};
use crate::learn::FitError;
use crate::learn::logistic::Logistic;
use crate::learn::standardise::Standardiser;
use crate::record::Record;
use crate::scores::{Card, Case, Cost, LENGTH, Learned, Missing, Model, Scorer, Training, find, registry};
use crate::verdict::finite_score;

const NAME: &str = "ensemble";
/// A score that fewer than this share of the records have is no member.
const COMMON: f64 = 0.5;

/// Log-odds of a wrong response by scores in units of their standard deviation.
pub(super) struct Ensemble;

impl Scorer for Ensemble {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &["what its members need"],
            cost: Cost::Samples,
            citation: "logistic regression over scores; cf. Bouchard and Chauhan 2025, uqlm (arXiv 2504.19254), tuned ensemble",
            summary: "log-odds of wrong, by a logistic regression over other scores; learned from labels",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for Ensemble {
    fn supervised(&self) -> bool {
        true
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        let labelled: Vec<(&Record, bool)> = training.records.iter().filter_map(|&record| Some((record, record.wrong()?))).collect();
        let wrong: Vec<bool> = labelled.iter().map(|&(_, wrong)| wrong).collect();
        if labelled.len() < 4 {
            return Err(FitError::TooFew { needed: 4, found: labelled.len(), lacking: Some("label".into()) });
        }
        check_labels(&wrong)?;
        let scorers = members(training.members.as_deref())?;
        let of = |&(record, _): &(&Record, bool)| scores_of(&scorers, &Case::with(record, training.setup));
        let scores: Vec<Vec<Option<f64>>> = labelled.par_iter().map(of).collect();
        let kept = common(&scores, &scorers, training.members.is_some())?;
        Ok(Box::new(Weighted::fit(&kept, &scorers, &scores, &wrong)?))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Weighted>(value)
    }
}

/// The scores asked for; or all but the learned ones and the length, whose finding is not the model's.
fn members(names: Option<&[String]>) -> Result<Vec<&'static dyn Scorer>, FitError> {
    let plain = |scorer: &&'static dyn Scorer| scorer.learned().is_none();
    let Some(names) = names else {
        return Ok(registry().iter().copied().filter(plain).filter(|scorer| scorer.name() != LENGTH).collect());
    };
    let found: Vec<_> =
        names.iter().map(|name| find(name)).collect::<Result<_, _>>().map_err(|error| FitError::Unfit(error.to_string()))?;
    match found.iter().find(|scorer| scorer.learned().is_some()) {
        Some(learned) => Err(FitError::Unfit(format!("{} is itself learned; an ensemble takes scores that are not", learned.name()))),
        None => Ok(found),
    }
}

fn scores_of(scorers: &[&dyn Scorer], case: &Case<'_>) -> Vec<Option<f64>> {
    scorers.iter().map(|scorer| finite_score(*scorer, case).ok()).collect()
}

/// The scores, by place, that enough records have. One that was asked for by name and is not among them is an error.
fn common(scores: &[Vec<Option<f64>>], scorers: &[&dyn Scorer], by_name: bool) -> Result<Vec<usize>, FitError> {
    let enough = |&place: &usize| {
        let found = scores.iter().filter(|row| row[place].is_some()).count();
        found as f64 >= COMMON * scores.len() as f64
    };
    let (kept, rare): (Vec<usize>, Vec<usize>) = (0..scorers.len()).partition(enough);
    match (by_name, rare.first(), kept.is_empty()) {
        (true, Some(&place), _) => Err(FitError::Unfit(format!("fewer than half of the labelled records have {}", scorers[place].name()))),
        (_, _, true) => Err(FitError::Unfit("no score that half of the labelled records have".into())),
        _ => Ok(kept),
    }
}

/// The fitted weights.
#[derive(Debug, Serialize, Deserialize)]
struct Weighted {
    /// Log-odds by standard deviation of each member, for the reader; also of `NAME is missing` where some records lacked it.
    weights: BTreeMap<String, f64>,
    members: Vec<Member>,
    scale: Standardiser,
    logistic: Logistic,
}

/// A score of the ensemble.
#[derive(Debug, Serialize, Deserialize)]
struct Member {
    name: String,
    /// Stands in where a record lacks it; none if no record of the fit did.
    stand_in: Option<f64>,
}

impl Member {
    fn new(name: &str, scores: &[Option<f64>]) -> Self {
        let known: Vec<f64> = scores.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        Self { name: name.to_owned(), stand_in: (known.len() < scores.len()).then_some(mean) }
    }

    /// The score or its stand-in; and where there may be a stand-in, whether it is one.
    fn features(&self, score: Option<f64>) -> Option<Vec<f64>> {
        match (score, self.stand_in) {
            (Some(score), None) => Some(vec![score]),
            (Some(score), Some(_)) => Some(vec![score, 0.0]),
            (None, Some(mean)) => Some(vec![mean, 1.0]),
            (None, None) => None,
        }
    }

    fn feature_names(&self) -> Vec<String> {
        let missing = self.stand_in.map(|_| format!("{} is missing", self.name));
        std::iter::once(self.name.clone()).chain(missing).collect()
    }
}

impl Weighted {
    fn fit(kept: &[usize], scorers: &[&dyn Scorer], scores: &[Vec<Option<f64>>], wrong: &[bool]) -> Result<Self, FitError> {
        let column = |place: usize| scores.iter().map(|row| row[place]).collect::<Vec<_>>();
        let members: Vec<Member> = kept.iter().map(|&place| Member::new(scorers[place].name(), &column(place))).collect();
        let names: Vec<String> = members.iter().flat_map(Member::feature_names).collect();
        let row = |scores: &Vec<Option<f64>>| -> Vec<f64> {
            members.iter().zip(kept).filter_map(|(member, &place)| member.features(scores[place])).flatten().collect()
        };
        let numbers: Vec<f64> = scores.iter().flat_map(row).collect();
        let rows = Array2::from_shape_vec((scores.len(), names.len()), numbers).map_err(|error| FitError::Unfit(error.to_string()))?;
        let scale = Standardiser::fit(rows.view());
        let logistic = Logistic::fit(scale.apply_all(rows.view()).view(), wrong, 1.0)?;
        let weights = names.into_iter().zip(logistic.weights.iter().copied()).collect();
        Ok(Self { weights, members, scale, logistic })
    }
}

impl Model for Weighted {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let mut row = Vec::with_capacity(self.logistic.weights.len());
        for member in &self.members {
            let score = find(&member.name).map_err(|error| lack(member, &error))?;
            let found = finite_score(score, case);
            row.extend(member.features(found.as_ref().ok().copied()).ok_or_else(|| match found {
                Err(missing) => lack(member, &missing),
                Ok(_) => Missing::Finite,
            })?);
        }
        Ok(self.logistic.log_odds(&self.scale.apply(&row)))
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        let mut weights: Vec<(&String, &f64)> = self.weights.iter().collect();
        weights.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        let shown: Vec<String> = weights.iter().map(|(name, weight)| format!("{name} {weight:+.2}")).collect();
        format!("log-odds by standard deviation: {}", shown.join(", "))
    }
}

fn lack(member: &Member, why: &dyn std::fmt::Display) -> Missing {
    Missing::Score { name: member.name.clone(), lacks: why.to_string() }
}
