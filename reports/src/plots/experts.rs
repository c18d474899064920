//! What experts became, as heat maps: their load, who is chosen with whom, who resembles whom, who takes which domain.

use super::heatmap::HeatMap;
use super::scale::{Numbers, Scale};
use crate::Error;
use crate::data::{ExpertReport, LayerExperts, mean, off_diagonal};
use crate::units;

/// Width of maps of layers or domains, and of maps of experts by experts, each with fewer and with many experts, in units.
const WIDE: (u32, u32) = (1120, 2240);
const SQUARE: (u32, u32) = (760, 1120);

/// Up to this many experts, a map of domains is as small as one of experts by experts.
pub(crate) const FEW: usize = 8;

/// More experts than this make a map wide.
pub(crate) const MANY: usize = 20;

/// Where co-activation's scale may end; the same in all layers of a report.
const ENDS: [f64; 4] = [0.1, 0.2, 0.5, 1.0];

/// The share of assignments by layer and expert, around the even share 1/N.
///
/// # Errors
/// [`Error::NothingToDraw`] where no layer has a finite share.
pub fn load_svg(report: &ExpertReport) -> Result<String, Error> {
    let experts = report.layers.iter().map(|layer| layer.load.len()).max().unwrap_or(0);
    let values: Vec<Vec<f64>> = report.layers.iter().map(|layer| layer.load.clone()).collect();
    let map = HeatMap {
        title: format!("Load of the experts of {}, seed {}", report.shown(), report.seed),
        description: format!("{} layers; {}", report.layers.len(), range(values.iter().flatten().copied(), Numbers::Percent)),
        rows: report.layers.iter().map(|layer| format!("layer {}", layer.layer)).collect(),
        columns: numbered(experts),
        heading: "share of assignments (percent) by expert".to_owned(),
        values,
        scale: Scale::around_even(1, experts),
        numbers: Numbers::Percent,
        zero: Some("no token at all"),
        width: wide(experts),
    };
    named(&map, "a share of assignments by layer and expert")
}

/// Which experts of a layer are chosen together: of the tokens of the row's expert, how many the column's got too.
///
/// # Errors
/// [`Error::NothingToDraw`] where the layer has no finite co-activation, or a token has only one expert.
pub fn co_activation_svg(report: &ExpertReport, layer: &LayerExperts) -> Result<String, Error> {
    if report.experts_per_token < 2 {
        return Err(Error::NothingToDraw { needs: "a second expert per token, for experts to be chosen together" });
    }
    let experts = layer.co_activation.len();
    let even = (report.experts_per_token - 1) as f64 / experts.max(2).saturating_sub(1) as f64;
    let largest = report.layers.iter().flat_map(|layer| off_diagonal(&layer.co_activation)).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let top = ENDS.into_iter().find(|end| largest <= *end).unwrap_or(1.0);
    let heading = "share of the row's tokens the column got too";
    let scale = Scale::Sequential { top, even: Some(even) };
    let map = square(report, layer, "Experts chosen together", heading, scale, &layer.co_activation);
    named(&map, "how often two experts are chosen together")
}

/// Which experts of a layer have similar weights: the cosine between them.
///
/// # Errors
/// [`Error::NothingToDraw`] where the layer has no finite cosine.
pub fn similarity_svg(report: &ExpertReport, layer: &LayerExperts) -> Result<String, Error> {
    let scale = Scale::Sequential { top: 1.0, even: None };
    let map = square(report, layer, "Similarity of experts", "cosine of the experts' weights", scale, &layer.similarity);
    named(&map, "the cosine between the weights of two experts")
}

/// Which experts of a layer take the tokens of which domain, around the even share K/N.
///
/// # Errors
/// [`Error::NothingToDraw`] where the layer has no domain with a finite share.
pub fn domains_svg(report: &ExpertReport, layer: &LayerExperts) -> Result<String, Error> {
    let experts = layer.domains.iter().map(|domain| domain.share.len()).max().unwrap_or(0);
    let values: Vec<Vec<f64>> = layer.domains.iter().map(|domain| domain.share.clone()).collect();
    let map = HeatMap {
        title: format!("Domains of layer {} of {}, seed {}", layer.layer, report.shown(), report.seed),
        description: range(values.iter().flatten().copied(), Numbers::Percent),
        rows: layer.domains.iter().map(|domain| domain.domain.clone()).collect(),
        columns: numbered(experts),
        heading: "percent of the domain's tokens".to_owned(),
        values,
        scale: Scale::around_even(report.experts_per_token, experts),
        numbers: Numbers::Percent,
        zero: Some("not one token of the domain"),
        width: if experts > FEW { wide(experts) } else { SQUARE.0 },
    };
    named(&map, "tokens of several domains")
}

/// A map of experts by experts.
fn square(report: &ExpertReport, layer: &LayerExperts, name: &str, heading: &str, scale: Scale, values: &[Vec<f64>]) -> HeatMap {
    HeatMap {
        title: format!("{name} in layer {} of {}, seed {}", layer.layer, report.shown(), report.seed),
        description: format!("between different experts: {}", range(off_diagonal(values), Numbers::Plain)),
        rows: numbered(values.len()),
        columns: numbered(values.len()),
        heading: heading.to_owned(),
        values: values.to_vec(),
        scale,
        numbers: Numbers::Plain,
        zero: None,
        width: if values.len() > MANY { SQUARE.1 } else { SQUARE.0 },
    }
}

/// Draws the map, saying what it would need where it has nothing to show.
fn named(map: &HeatMap, needs: &'static str) -> Result<String, Error> {
    map.svg().map_err(|error| if let Error::NothingToDraw { .. } = error { Error::NothingToDraw { needs } } else { error })
}

/// Experts' numbers as labels.
fn numbered(experts: usize) -> Vec<String> {
    (0..experts).map(|expert| expert.to_string()).collect()
}

/// The width of a map with this many columns.
fn wide(experts: usize) -> u32 {
    if experts > MANY { WIDE.1 } else { WIDE.0 }
}

/// Smallest, mean and largest of the finite numbers, in words.
pub(crate) fn range(values: impl Iterator<Item = f64>, numbers: Numbers) -> String {
    let kept: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    let Some(mean) = mean(kept.iter().copied()) else { return "nothing measured".to_owned() };
    let (low, high) = kept.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let text = |value| if numbers == Numbers::Percent { units::percent(Some(value)) } else { units::fixed(Some(value), 3) };
    format!("{} to {}, mean {}", text(low), text(high), text(mean))
}
