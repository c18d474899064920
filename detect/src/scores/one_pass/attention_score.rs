//! How little the tokens of the response attend to themselves in the middle layer.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −mean over heads of Σ_t ln A_tt, in layer ⌊L/2⌋ of L, from 0: the log-determinant of the lower triangular attention matrix, over the response
/// alone. A sum over tokens: it grows with the response.
pub(super) struct AttentionScore;

impl Scorer for AttentionScore {
    fn card(&self) -> &'static Card {
        &Card {
            name: "attention_score",
            needs: &[inputs::ATTENTION_SCORE],
            cost: Cost::OnePass,
            citation: "Sriramanan et al. 2024, LLM-Check (openreview LYx4w3CAgy), Attention Score, as in LM-Polygraph (gen_only)",
            summary: "negative log-determinant of the attention among the response tokens, middle layer, mean over heads",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let layers = inputs::attention_score(case.record)?;
        layers.get(layers.len() / 2).map(|score| -score).ok_or(Missing::Entries(inputs::ATTENTION_SCORE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Attention, Record};

    fn score(layers: Vec<f64>) -> Result<f64, Missing> {
        let attention = Some(Attention { score: layers, ..Attention::default() });
        AttentionScore.score(&Case::new(&Record { attention, ..Record::default() }))
    }

    #[test]
    fn the_layer_past_the_middle_counts() {
        assert_eq!(score((0..24).map(|layer| -f64::from(layer)).collect()), Ok(12.0));
        assert_eq!(score(vec![-1.0, -2.0, -3.0]), Ok(2.0));
        assert_eq!(score(vec![-1.0]), Ok(1.0));
    }

    #[test]
    fn attention_to_itself_alone_is_not_suspect() {
        assert_eq!(score(vec![0.0; 4]), Ok(0.0));
        assert_eq!(score(vec![]), Err(Missing::Entries(inputs::ATTENTION_SCORE)));
    }
}
