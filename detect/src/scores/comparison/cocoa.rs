//! CoCoA: confidence times consistency. A response is suspect when the model was unsure of it *and* its samples say something else.

use crate::record::Record;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// u(y) · mean_i (1 − similarity(y, s_i)), similarity as the setup says; u is the uncertainty of the response alone.
pub(super) struct Cocoa {
    card: &'static Card,
    uncertainty: fn(&Record) -> Result<f64, Missing>,
}

const CITATION: &str = "Vashurin et al. 2025 (arXiv 2502.04964), as in LM-Polygraph CocoaMSP, CocoaPPL, CocoaMTE";

/// u = −Σ ln p.
pub(super) const MSP: Cocoa = Cocoa {
    card: &Card {
        name: "cocoa_msp",
        needs: &[inputs::TOKEN_LOGPROBS, inputs::SAMPLES],
        cost: Cost::Samples,
        citation: CITATION,
        summary: "msp times the mean dissimilarity of the samples to the response",
    },
    uncertainty: |record| Ok(-inputs::logprobs(record)?.iter().sum::<f64>()),
};

/// u = −mean ln p.
pub(super) const PPL: Cocoa = Cocoa {
    card: &Card { name: "cocoa_ppl", summary: "perplexity times the mean dissimilarity of the samples to the response", ..*MSP.card },
    uncertainty: |record| Ok(-inputs::mean(inputs::logprobs(record)?)),
};

/// u = mean token entropy.
pub(super) const MTE: Cocoa = Cocoa {
    card: &Card {
        name: "cocoa_mte",
        needs: &[inputs::TOKEN_ENTROPIES, inputs::SAMPLES],
        summary: "mean token entropy times the mean dissimilarity of the samples to the response",
        ..*MSP.card
    },
    uncertainty: |record| Ok(inputs::mean(inputs::entropies(record)?)),
};

impl Scorer for Cocoa {
    fn card(&self) -> &'static Card {
        self.card
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let uncertainty = (self.uncertainty)(case.record)?;
        inputs::samples(case.record, 1)?;
        let similarity = case.similarity(case.setup.similarity.as_ref())?;
        let dissimilar: Vec<f64> = similarity.row(0).iter().skip(1).map(|similarity| 1.0 - similarity).collect();
        Ok(uncertainty * inputs::mean(&dissimilar))
    }
}
