//! How far the samples say what a part of the response says: what a model makes up, it makes up differently each time (Manakul et al. 2023,
//! SelfCheckGPT, arXiv 2303.08896).

use std::collections::HashMap;

use crate::scores::{Case, Missing};
use crate::text::words;

/// Of every part: with an entailment model the mean probability, over samples, that the sample entails the part; without one the mean share of the
/// part's words that the sample has, each as often as both have it (ROUGE-1 recall, Lin 2004; words are runs of letters and digits in lower
/// case). 0 to 1; `None` of a part without words where words are compared.
///
/// # Errors
/// Without samples, and when the model fails.
pub(super) fn support(case: &Case<'_>, parts: &[&str]) -> Result<Vec<Option<f64>>, Missing> {
    let samples = samples(case)?;
    if case.setup.entailment.is_none() {
        let counted: Vec<_> = samples.iter().map(|sample| counts(sample)).collect();
        return Ok(parts.iter().map(|part| recall(part, &counted)).collect());
    }
    let pairs: Vec<(&str, &str)> = parts.iter().flat_map(|&part| samples.iter().map(move |&sample| (sample, part))).collect();
    let judged = case.judge(&pairs)?;
    let mean =
        |of_part: &[crate::entailment::Judgement]| of_part.iter().map(|judged| judged.entailment).sum::<f64>() / samples.len() as f64;
    Ok(judged.chunks(samples.len()).map(|of_part| Some(mean(of_part))).collect())
}

/// Of every part: the share of samples that have its words, one after the other; 0 to 1; `None` of a part without words.
///
/// # Errors
/// Without samples.
pub(super) fn containment(case: &Case<'_>, parts: &[&str]) -> Result<Vec<Option<f64>>, Missing> {
    let samples: Vec<Vec<String>> = samples(case)?.into_iter().map(lower).collect();
    let holds = |sample: &&Vec<String>, part: &[String]| sample.windows(part.len()).any(|run| run == part);
    let share = |part: Vec<String>| {
        (!part.is_empty()).then(|| samples.iter().filter(|sample| holds(sample, &part)).count() as f64 / samples.len() as f64)
    };
    Ok(parts.iter().map(|part| share(lower(part))).collect())
}

fn samples<'a>(case: &Case<'a>) -> Result<Vec<&'a str>, Missing> {
    let samples = case.record.sample_texts();
    if samples.is_empty() { Err(Missing::Samples { needed: 1, found: 0 }) } else { Ok(samples) }
}

fn lower(text: &str) -> Vec<String> {
    words(&text.to_lowercase()).map(str::to_owned).collect()
}

/// How often a text has each of its words.
fn counts(text: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    lower(text).into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}

fn recall(part: &str, samples: &[HashMap<String, usize>]) -> Option<f64> {
    let own = counts(part);
    let all: usize = own.values().sum();
    let shared =
        |sample: &HashMap<String, usize>| own.iter().map(|(word, &n)| n.min(sample.get(word).copied().unwrap_or(0))).sum::<usize>();
    (all > 0).then(|| samples.iter().map(|sample| shared(sample) as f64 / all as f64).sum::<f64>() / samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entailment::{Entailment, Judgement};
    use crate::record::{Record, Sample};
    use crate::setup::Setup;
    use crate::similarity::BackendError;

    fn record(samples: &[&str]) -> Record {
        Record { samples: samples.iter().map(|&text| Sample { text: text.to_owned(), ..Sample::default() }).collect(), ..Record::default() }
    }

    #[test]
    fn words_count_as_often_as_both_have_them() {
        let record = record(&["The cat sat.", "a dog", ""]);
        let found = support(&Case::new(&record), &["the cat, the dog", "?"]).expect("samples");
        assert_eq!(found, [Some((2.0 / 4.0 + 1.0 / 4.0) / 3.0), None]);
    }

    #[test]
    fn a_name_is_there_or_not() {
        let record = record(&["Born in New York, he stayed.", "He came from york, new in town.", "New  YORK"]);
        let found = containment(&Case::new(&record), &["New York", "Oslo", "!"]).expect("samples");
        assert_eq!(found, [Some(2.0 / 3.0), Some(0.0), None]);
    }

    /// Entails what it holds, by half.
    #[derive(Debug)]
    struct Holds;

    impl Entailment for Holds {
        fn name(&self) -> &'static str {
            "holds"
        }
        fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
            let judge = |(premise, hypothesis): &(&str, &str)| {
                let entailment = if premise.contains(hypothesis) { 0.5 } else { 0.25 };
                Judgement { entailment, neutral: 1.0 - entailment, contradiction: 0.0 }
            };
            Ok(pairs.iter().map(judge).collect())
        }
    }

    #[test]
    fn the_sample_is_the_premise() {
        let (record, setup) = (record(&["ab", "b"]), Setup { entailment: Some(Box::new(Holds)), ..Setup::default() });
        assert_eq!(support(&Case::with(&record, &setup), &["a", "abc"]), Ok(vec![Some(0.375), Some(0.25)]));
    }

    #[test]
    fn without_samples_there_is_no_support() {
        let bare = Record::default();
        let lack = Missing::Samples { needed: 1, found: 0 };
        assert_eq!(support(&Case::new(&bare), &[]), Err(lack.clone()));
        assert_eq!(containment(&Case::new(&bare), &[]), Err(lack));
    }
}
