//! Answers beside one another in the model's own hidden states.

use ndarray::Array2;

use super::{BackendError, Similarity, all_pairs, cosine};
use crate::record::{Hidden, Record};
use crate::scores::Missing;

const NAME: &str = "hidden";

/// Cosine of the answers' mean hidden states, 0 where it is negative, from `hidden[].mean` of the record and its samples. Of the layers that were
/// recorded it reads the middle one, as INSIDE does (Chen et al. 2024, arXiv 2402.03744). States of a language model share a large common part, so these cosines crowd near 1: they rank pairs, and a threshold on them has to be
/// chosen on data. Loose texts have no states: only scores that compare whole answers can use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct HiddenStates;

impl Similarity for HiddenStates {
    fn name(&self) -> &'static str {
        NAME
    }

    fn matrix(&self, _texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        Err(failed("hidden states belong to the answers of a record; other texts have none"))
    }

    fn answers(&self, record: &Record) -> Option<Result<Array2<f64>, Missing>> {
        Some(states(record).map(|states| all_pairs(states.len(), |i, j| cosine(states[i], states[j]).clamp(0.0, 1.0))))
    }
}

/// The state of every answer, all of one length: the response's, then the samples'.
fn states(record: &Record) -> Result<Vec<&[f32]>, Missing> {
    let layer = record.hidden.get(record.hidden.len() / 2).ok_or(Missing::Field(NAME))?.layer;
    let own = state(&record.hidden, layer).ok_or(Missing::Entries("hidden[].mean"))?;
    let mut states = vec![own];
    for (index, sample) in record.samples.iter().enumerate() {
        let found = state(&sample.hidden, layer).ok_or(Missing::SampleField { field: "hidden[].mean", index })?;
        if found.len() != own.len() {
            return Err(
                failed(&format!("the state of sample {index} has {} entries, that of the response {}", found.len(), own.len())).into()
            );
        }
        states.push(found);
    }
    Ok(states)
}

fn state(hidden: &[Hidden], layer: usize) -> Option<&[f32]> {
    let found = hidden.iter().find(|hidden| hidden.layer == layer)?;
    (!found.mean.is_empty()).then_some(found.mean.as_slice())
}

fn failed(reason: &str) -> BackendError {
    BackendError { backend: NAME, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;
    use crate::scores::Case;

    fn hidden(layer: usize, mean: &[f32]) -> Hidden {
        Hidden { layer, mean: mean.to_vec(), ..Hidden::default() }
    }

    fn record(own: &[&[f32]], samples: &[&[f32]]) -> Record {
        let layers = |states: &[&[f32]]| states.iter().enumerate().map(|(layer, mean)| hidden(layer, mean)).collect::<Vec<_>>();
        let sample = |mean: &&[f32]| Sample { hidden: vec![hidden(0, &[9.0]), hidden(1, mean)], ..Sample::default() };
        Record { hidden: layers(own), samples: samples.iter().map(sample).collect(), ..Record::default() }
    }

    #[test]
    fn the_middle_layer_is_compared() {
        let record = record(&[&[1.0], &[3.0, 4.0], &[1.0]], &[&[4.0, 3.0], &[-3.0, -4.0], &[-4.0, 3.0]]);
        let matrix = Case::new(&record).similarity(&HiddenStates).expect("states of all");
        let near = |i: usize, j: usize, expected: f64| assert!((matrix[[i, j]] - expected).abs() < 1e-12, "{matrix}");
        [(0, 0, 1.0), (0, 1, 0.96), (0, 2, 0.0), (0, 3, 0.0), (2, 3, 0.0), (3, 1, 0.0)]
            .into_iter()
            .for_each(|(i, j, expected)| near(i, j, expected));
    }

    #[test]
    fn what_has_no_state_is_named() {
        let lacks = |record: &Record| Case::new(record).similarity(&HiddenStates).expect_err("incomplete").to_string();
        let mut record = record(&[&[1.0], &[3.0, 4.0], &[1.0]], &[&[4.0, 3.0], &[1.0, 0.0]]);
        record.samples[1].hidden[1].mean.clear();
        assert_eq!(lacks(&record), "hidden[].mean of every sample (absent from sample 1)");
        record.samples[1].hidden[1].mean = vec![1.0; 3];
        assert_eq!(lacks(&record), "a working back-end (hidden: the state of sample 1 has 3 entries, that of the response 2)");
        record.hidden.clear();
        assert_eq!(lacks(&record), "hidden");
        assert!(HiddenStates.matrix(&["loose"]).is_err());
    }
}
