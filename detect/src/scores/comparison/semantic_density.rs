//! Semantic density: how much of the probability of all answers lies near the response.

use crate::entailment::Judgement;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::similarity::unique;

/// −Σ P̄_i K_i / Σ P̄_i over the distinct samples and the response itself (K = 1), P̄ = exp(mean ln p), K_i = max(0, 1 − d_i),
/// d_i = p(contradiction) + p(neutral)/2 of sample i as a hypothesis from the response, the prompt and a line feed before both. From −1 (all
/// agree) to 0. A sample equal to the response has K = 1 without asking.
pub(super) struct SemanticDensity;

impl Scorer for SemanticDensity {
    fn card(&self) -> &'static Card {
        &Card {
            name: "semantic_density",
            needs: &[inputs::TOKEN_LOGPROBS, inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Comparison,
            citation: "Qiu and Miikkulainen 2024 (arXiv 2405.13845), as in LM-Polygraph SemanticDensity",
            summary: "negated share of the answers' length-normalised probability that lies semantically near the response",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let own = inputs::mean(inputs::logprobs(case.record)?);
        let mean_logprobs = inputs::mean_sample_logprobs(inputs::samples(case.record, 1)?)?;
        let (texts, places) = unique(&case.record.sample_texts());
        let first = |text: usize| places.iter().position(|&place| place == text).map_or(f64::NEG_INFINITY, |sample| mean_logprobs[sample]);
        let logprobs: Vec<f64> = (0..texts.len()).map(first).chain([own]).collect();
        let kernels: Vec<f64> = judge(case, &texts)?.iter().map(kernel).chain([1.0]).collect();
        Ok(-density(&logprobs, &kernels))
    }
}

/// What the response says of each text.
fn judge(case: &Case<'_>, texts: &[&str]) -> Result<Vec<Judgement>, Missing> {
    let after_prompt = |text: &str| format!("{}\n{text}", case.record.prompt);
    let (response, full): (String, Vec<String>) =
        (after_prompt(&case.record.response), texts.iter().map(|text| after_prompt(text)).collect());
    let others: Vec<(&str, &str)> = full
        .iter()
        .zip(texts)
        .filter(|(_, text)| **text != case.record.response)
        .map(|(text, _)| (response.as_str(), text.as_str()))
        .collect();
    let mut judged = case.judge(&others)?.into_iter();
    let mut next = |text: &&str| if **text == case.record.response { Some(Judgement::SAME) } else { judged.next() };
    texts.iter().map(|text| next(text).ok_or(Missing::Finite)).collect()
}

fn kernel(judgement: &Judgement) -> f64 {
    (1.0 - judgement.contradiction - judgement.neutral / 2.0).max(0.0)
}

/// Mean of the kernels, weighted by probability.
fn density(logprobs: &[f64], kernels: &[f64]) -> f64 {
    let largest = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logprobs.iter().map(|logprob| (logprob - largest).exp()).collect();
    weights.iter().zip(kernels).map(|(weight, kernel)| weight * kernel).sum::<f64>() / weights.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_is_a_weighted_mean() {
        assert!((density(&[-2000.0, -2000.0 + 3f64.ln()], &[0.0, 1.0]) - 0.75).abs() < 1e-12);
        assert_eq!(kernel(&Judgement { entailment: 0.25, neutral: 0.5, contradiction: 0.25 }), 0.5);
        assert_eq!(kernel(&Judgement::SAME), 1.0);
    }
}
