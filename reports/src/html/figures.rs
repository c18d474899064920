//! The page's pictures, with captions, and a sentence where there is nothing to draw.

use crate::Error;
use crate::data::{Measure, Report};
use crate::methods::distinct;
use crate::plots::{self, Cost, KnowledgeAxis};

/// A picture with its caption.
pub(super) struct Figure {
    /// The picture.
    pub(super) svg: String,
    /// What to see in it.
    pub(super) caption: String,
}

/// Pictures that belong together.
pub(super) struct Section {
    /// The heading over them; empty for none.
    pub(super) heading: String,
    /// A class that lays the pictures out: `small`, `broad`; empty for the usual.
    pub(super) class: &'static str,
    /// The pictures there are.
    pub(super) figures: Vec<Figure>,
    /// What was missing for the others, each reason once.
    pub(super) missing: Vec<&'static str>,
}

impl Section {
    /// Collects pictures; those without data leave their reason instead.
    pub(super) fn collect<I>(heading: String, drawn: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = (Result<String, Error>, String)>,
    {
        let mut section = Self { heading, class: "", figures: Vec::new(), missing: Vec::new() };
        for (svg, caption) in drawn {
            match svg {
                Ok(svg) => section.figures.push(Figure { svg, caption }),
                Err(Error::NothingToDraw { needs }) if section.missing.contains(&needs) => {}
                Err(Error::NothingToDraw { needs }) => section.missing.push(needs),
                Err(error) => return Err(error),
            }
        }
        Ok(section)
    }

    /// The section, laid out as `class` says.
    pub(super) fn laid_out(self, class: &'static str) -> Self {
        Self { class, ..self }
    }
}

/// Facts known, answers made up and validation loss, each against FLOPs and against bytes.
pub(super) fn quality(report: &Report) -> Result<Section, Error> {
    let measures = [Measure::FactsKnown, Measure::MadeUp, Measure::ValidationLoss];
    let pairs = measures.into_iter().flat_map(|measure| [(measure, Cost::Flops), (measure, Cost::Bytes)]);
    Section::collect(String::new(), pairs.map(|(measure, cost)| pair(report, measure, cost)))
}

/// How well the best score does, and quality against measured latency and energy.
pub(super) fn more_quality(report: &Report) -> Result<Section, Error> {
    let measured = |cost| [(Measure::FactsKnown, cost), (Measure::ValidationLoss, cost)];
    let costs = [Cost::Latency, Cost::LatencyBatch8]
        .into_iter()
        .chain(report.arms.iter().any(|arm| Cost::Energy.of(arm).is_some()).then_some(Cost::Energy));
    let pairs = [(Measure::BestAuroc, Cost::Flops)].into_iter().chain(costs.flat_map(measured));
    Section::collect(String::new(), pairs.map(|(measure, cost)| pair(report, measure, cost)))
}

fn pair(report: &Report, measure: Measure, cost: Cost) -> (Result<String, Error>, String) {
    (plots::quality_svg(report, measure, cost), format!("{} against {}.", measure.title(), cost.title()))
}

/// Correct answers and uncertainty by exposure.
pub(super) fn knowledge(report: &Report) -> Result<Section, Error> {
    let axes = [
        (KnowledgeAxis::Correct, "Share of correct answers, with its interval."),
        (KnowledgeAxis::Entropy, "How far the model spreads its belief: 1 = over the whole pool of answers, 0 = certain of one."),
    ];
    Section::collect(String::new(), axes.map(|(axis, caption)| (plots::knowledge_svg(report, axis), caption.to_owned())))
}

/// ROC and risk–coverage curves, a section per arm.
pub(super) fn detection(report: &Report) -> Result<Vec<Section>, Error> {
    let names = distinct(report.roc.iter().chain(&report.risk_coverage).map(|curve| curve.arm.as_str()));
    let section = |arm: &&str| {
        let drawn = [
            (plots::roc_svg(report, arm), "Wrong answers are the positive class; the diagonal is chance.".to_owned()),
            (
                plots::risk_coverage_svg(report, arm),
                "Lower is better: what stays wrong when only the least suspect answers are given.".to_owned(),
            ),
        ];
        Section::collect(super::shown(report, arm).to_owned(), drawn)
    };
    names.iter().map(section).collect()
}

/// Losses, one picture per phase.
pub(super) fn training(report: &Report) -> Result<Section, Error> {
    let mut phases = distinct(report.curves.iter().map(|curve| curve.phase.as_str()));
    if phases.is_empty() {
        phases.push("");
    }
    let caption = |phase: &str| if phase.is_empty() { "Loss.".to_owned() } else { format!("Loss during {phase}.") };
    Section::collect(String::new(), phases.into_iter().map(|phase| (plots::training_svg(report, phase), caption(phase))))
}

/// Expert load, one picture per arm and seed.
pub(super) fn load(report: &Report) -> Result<Section, Error> {
    let caption = |arm: &str, seed: u64| format!("{}, seed {seed}.", super::shown(report, arm));
    let drawn = report.expert_load.iter().map(|load| (plots::expert_load_svg(report, load), caption(&load.arm, load.seed)));
    let mut section = Section::collect(String::new(), drawn)?;
    if report.expert_load.is_empty() {
        section.missing.push("a share of assignments per layer and expert");
    }
    Ok(section)
}
