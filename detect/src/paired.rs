//! Variants of a model on the same items: what differs between each two, how sure one can be, and a sentence that says so.
//!
//! Items are hard or easy for all variants alike, so that two means with overlapping intervals may well differ: every comparison here is of
//! pairs. Where several variants are compared, p-values are corrected for the number of pairs ([`holm`]).

mod t_test;

use serde::{Deserialize, Serialize};

pub use self::t_test::t_test;
use crate::metrics::{Interval, McNemar, MetricError, holm, mcnemar, paired_bootstrap};

/// What one variant got on every item.
#[derive(Debug, Clone, Copy)]
pub struct Variant<'a> {
    /// Its name in sentences.
    pub name: &'a str,
    /// A value an item, in the same order for all variants: 0 or 1 where an item is right or wrong, else any number.
    pub values: &'a [f64],
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Confidence of intervals; a finding has an adjusted p-value of at most one less it.
    pub confidence: f64,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for Settings {
    /// More is better; 2,000 resamples, 95 %.
    fn default() -> Self {
        Self { higher_is_better: true, resamples: 2000, confidence: 0.95, seed: 0 }
    }
}

/// Two variants compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// One variant.
    pub first: String,
    /// The other.
    pub second: String,
    /// Items both have.
    pub items: usize,
    /// Mean of the first less mean of the second, with the interval of a paired bootstrap.
    pub difference: Interval,
    /// McNemar's test, where every value is 0 or 1; else the paired t-test alone is made.
    pub mcnemar: Option<McNemar>,
    /// Two-sided, of no difference: McNemar's, else that of the paired t-test.
    pub p_value: f64,
    /// The same, adjusted for all pairs.
    pub p_adjusted: f64,
    /// What it comes to, in a sentence.
    pub verdict: String,
}

/// Compares every two of the variants.
///
/// # Errors
/// Values that are not finite, lists of unequal lengths or with fewer than two items, and settings out of range.
pub fn compare(variants: &[Variant], settings: &Settings) -> Result<Vec<Comparison>, MetricError> {
    let pairs = (0..variants.len()).flat_map(|one| (one + 1..variants.len()).map(move |other| (one, other)));
    let mut found = pairs.map(|(one, other)| pair(&variants[one], &variants[other], settings)).collect::<Result<Vec<_>, _>>()?;
    let p_values: Vec<f64> = found.iter().map(|comparison| comparison.p_value).collect();
    let pairs = found.len();
    for (comparison, p_adjusted) in found.iter_mut().zip(holm(&p_values)?) {
        comparison.p_adjusted = p_adjusted;
        comparison.verdict = verdict(comparison, pairs, settings);
    }
    Ok(found)
}

fn pair(first: &Variant, second: &Variant, settings: &Settings) -> Result<Comparison, MetricError> {
    let Settings { resamples, confidence, seed, .. } = *settings;
    let difference = paired_bootstrap(first.values, second.values, resamples, confidence, seed)?;
    let mcnemar = match (answers(first), answers(second)) {
        (Some(one), Some(other)) => Some(mcnemar(&one, &other)?),
        _ => None,
    };
    let p_value = mcnemar.map_or_else(|| t_test(first.values, second.values), |test| Ok(test.p_value))?;
    Ok(Comparison {
        first: first.name.to_owned(),
        second: second.name.to_owned(),
        items: first.values.len(),
        difference,
        mcnemar,
        p_value,
        p_adjusted: p_value,
        verdict: String::new(),
    })
}

/// Right or wrong, where every value is one of the two.
fn answers(variant: &Variant) -> Option<Vec<bool>> {
    let answer = |value: &f64| if *value == 1.0 { Some(true) } else { (*value == 0.0).then_some(false) };
    variant.values.iter().map(answer).collect()
}

/// One sentence: who is better by how much, or that nothing can be told.
fn verdict(comparison: &Comparison, pairs: usize, settings: &Settings) -> String {
    let Comparison { first, second, items, difference, mcnemar, p_adjusted, .. } = comparison;
    let found = *p_adjusted <= 1.0 - settings.confidence && difference.estimate != 0.0;
    let first_leads = (difference.estimate > 0.0) == settings.higher_is_better;
    let (lead, trail) = if first_leads { (first, second) } else { (second, first) };
    let claim = if found { format!("{lead} is better than {trail}") } else { format!("{first} and {second} cannot be told apart") };
    let amount = |value: f64| if mcnemar.is_some() { format!("{:+.2}", 100.0 * value) } else { format!("{value:+.4}") };
    let unit = if mcnemar.is_some() { " percentage points" } else { "" };
    let corrected = if pairs > 1 { format!(" after Holm's correction for {pairs} pairs") } else { String::new() };
    let test = if mcnemar.is_some() { "McNemar" } else { "paired t-test" };
    format!(
        "{claim} on {items} items: {first} less {second} is {}{unit} ({:.0} % interval {} to {}), p = {p_adjusted:.3}{corrected} ({test}).",
        amount(difference.estimate),
        100.0 * settings.confidence,
        amount(difference.low),
        amount(difference.high),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: usize = 200;

    fn right(share: impl Fn(usize) -> bool) -> Vec<f64> {
        (0..ITEMS).map(|item| f64::from(u8::from(share(item)))).collect()
    }

    #[test]
    fn verdicts_name_the_better_one_or_none() {
        let (dense, better, alike) =
            (right(|i| i % 2 == 0), right(|i| i % 2 == 0 || i % 8 == 1), right(|i| i % 2 == 0 && i != 0 || i == 1));
        let variants =
            [Variant { name: "dense", values: &dense }, Variant { name: "e8", values: &better }, Variant { name: "copy", values: &alike }];
        let found = compare(&variants, &Settings::default()).expect("three pairs");
        assert_eq!(
            found.iter().map(|pair| (pair.first.as_str(), pair.second.as_str())).collect::<Vec<_>>(),
            [("dense", "e8"), ("dense", "copy"), ("e8", "copy")]
        );
        let verdicts: Vec<&str> = found.iter().map(|pair| pair.verdict.as_str()).collect();
        assert!(verdicts[0].starts_with("e8 is better than dense on 200 items: dense less e8 is -12.50 percentage points"), "{verdicts:?}");
        assert!(verdicts[1].starts_with("dense and copy cannot be told apart") && verdicts[1].contains("Holm's correction for 3 pairs"));
        assert!(verdicts[2].starts_with("e8 is better than copy"));
        // 25 items of disagreement, all one way: chi-squared of 24^2/25; Holm takes it three times.
        assert!(!found[0].mcnemar.expect("right or wrong").exact && found[0].p_adjusted == 3.0 * found[0].p_value);
    }

    #[test]
    fn losses_are_better_where_they_are_less() {
        let (low, high): (Vec<f64>, Vec<f64>) =
            (0..ITEMS).map(|i| (1.0 + (i % 7) as f64, 1.1 + (i % 7) as f64 + 0.01 * (i % 3) as f64)).unzip();
        let variants = [Variant { name: "low", values: &low }, Variant { name: "high", values: &high }];
        let settings = Settings { higher_is_better: false, ..Settings::default() };
        let found = compare(&variants, &settings).expect("a pair").remove(0);
        assert!(found.verdict.starts_with("low is better than high") && found.verdict.contains("paired t-test"), "{}", found.verdict);
        assert!(found.mcnemar.is_none() && !found.verdict.contains("Holm"));
    }

    #[test]
    fn the_same_answers_are_no_difference() {
        let (values, few) = ([1.0, 0.0, 1.0], [1.0, 0.0]);
        let found = compare(&[Variant { name: "a", values: &values }, Variant { name: "b", values: &values }], &Settings::default());
        assert!(found.expect("a pair")[0].verdict.contains("cannot be told apart"));
        assert!(compare(&[Variant { name: "a", values: &values }, Variant { name: "b", values: &few }], &Settings::default()).is_err());
        assert!(compare(&[Variant { name: "a", values: &few }], &Settings::default()).expect("no pair").is_empty());
    }
}
