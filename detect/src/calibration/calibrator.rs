//! The calibrator as it is kept in a file: all that turns the scores of a record into a decision, and what it is worth.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Calibration, Judged, Thresholds};
use crate::checksum::{sealed, unseal};
use crate::drift::Reference;

/// Version of the file.
pub const VERSION: u32 = 1;

/// Which score, its calibration, the thresholds, and the scores it was fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    /// Of the file's form: [`VERSION`].
    pub version: u32,
    /// The score it reads.
    pub score: String,
    /// From score to probability.
    pub calibration: Calibration,
    /// From probability to decision.
    pub thresholds: Thresholds,
    /// The calibration responses' scores; a score outside of their range is told.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// What it was worth on responses it had not seen.
    #[serde(default)]
    pub judged: Option<Judged>,
    /// Where the calibration responses came from: model, data, settings.
    #[serde(default)]
    pub source: Option<Value>,
    /// How texts were compared and what was learnt beforehand, where the score depends on it.
    #[serde(default)]
    pub setup: Option<Value>,
}

/// Why a file is no calibrator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalibratorFileError {
    /// Not JSON, or not the fields of a calibrator.
    #[error("not a calibrator: {0}")]
    Json(String),
    /// Of a form this program does not know.
    #[error("a calibrator of version {found}; this program reads version {VERSION}: calibrate again, or use the program that wrote it")]
    Version {
        /// What stands there.
        found: String,
    },
    /// The fields contradict themselves or each other.
    #[error("not a calibrator: {0}")]
    Inconsistent(&'static str),
}

impl Calibrator {
    /// A calibrator with the default thresholds, which promise nothing.
    pub fn new(score: &str, calibration: Calibration) -> Self {
        let (version, score, thresholds) = (VERSION, score.to_owned(), Thresholds::default());
        Self { version, score, calibration, thresholds, reference: None, judged: None, source: None, setup: None }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is not JSON, another version, parameters that are none.
    pub fn from_json(text: &str) -> Result<Self, CalibratorFileError> {
        let json = |error: serde_json::Error| CalibratorFileError::Json(error.to_string());
        let mut value: Value = serde_json::from_str(text).map_err(json)?;
        match value.get("version") {
            Some(version) if version.as_u64() == Some(VERSION.into()) => (),
            Some(version) => return Err(CalibratorFileError::Version { found: version.to_string() }),
            None => return Err(CalibratorFileError::Json("it has no `version`".into())),
        }
        if !unseal(&mut value) {
            return Err(CalibratorFileError::Inconsistent("its checksum is another: it was changed or damaged after it was written"));
        }
        let read: Self = serde_json::from_value(value).map_err(json)?;
        read.fault().map_or(Ok(read), |fault| Err(CalibratorFileError::Inconsistent(fault)))
    }

    /// A file's text.
    ///
    /// # Errors
    /// When JSON cannot hold it.
    pub fn to_json(&self) -> Result<String, CalibratorFileError> {
        let text = sealed(self).and_then(|value| serde_json::to_string_pretty(&value));
        text.map_err(|error| CalibratorFileError::Json(error.to_string()))
    }

    /// What is wrong with it.
    fn fault(&self) -> Option<&'static str> {
        let reference = self.reference.as_ref().and_then(Reference::fault);
        self.calibration.fault().or_else(|| self.thresholds.fault()).or(reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{Method, Platt};

    fn refused(text: &str) -> String {
        Calibrator::from_json(text).expect_err("no calibrator").to_string()
    }

    #[test]
    fn every_method_survives_the_file() {
        let (scores, wrong) = ([0.1, 0.9, 0.3, 0.4, 0.7], [false, true, true, false, true]);
        for method in Method::ALL {
            let mut calibrator = Calibrator::new("msp", Calibration::fit(method, &scores, &wrong).expect("two classes"));
            calibrator.reference = Reference::new(&scores).ok();
            let text = serde_json::to_string(&calibrator).expect("plain data");
            assert_eq!(Calibrator::from_json(&text), Ok(calibrator), "{text}");
        }
    }

    #[test]
    fn another_version_is_refused_in_a_sentence() {
        let calibrator = Calibrator { version: 7, ..Calibrator::new("msp", Calibration::Platt(Platt { slope: 1.0, intercept: 0.0 })) };
        let told = refused(&serde_json::to_string(&calibrator).expect("plain data"));
        assert_eq!(told, "a calibrator of version 7; this program reads version 1: calibrate again, or use the program that wrote it");
        assert!(refused(r#"{"score":"msp","platt":{"slope":1,"intercept":0}}"#).contains("no `version`"));
        assert!(refused("[").starts_with("not a calibrator: ") && refused(r#"{"version":1}"#).contains("score"));
    }

    #[test]
    fn parameters_that_are_none_are_refused() {
        let with = |calibration: &str, thresholds: &str| {
            refused(&format!(r#"{{"version":1,"score":"a","calibration":{calibration},"thresholds":{thresholds}}}"#))
        };
        let (platt, none) = (r#"{"method":"platt","slope":1.0,"intercept":0.0}"#, r#"{"accept":null,"flag":null}"#);
        assert!(with(r#"{"method":"isotonic","points":[]}"#, none).contains("curve"));
        assert!(with(r#"{"method":"bins","edges":[1.0],"probabilities":[0.5]}"#, none).contains("bins"));
        assert!(with(r#"{"method":"magic"}"#, none).contains("magic"));
        assert!(
            with(platt, r#"{"accept":{"probability":0.6,"guarantee":null},"flag":{"probability":0.5,"guarantee":null}}"#)
                .contains("thresholds")
        );
    }
}
