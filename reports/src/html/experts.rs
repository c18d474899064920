//! What the experts became: one view per model, the first seed of each arm whole and the others folded and shorter.

use super::expert_tables;
use super::expert_words::warnings;
use super::figures::Section;
use super::table::Table;
use crate::Error;
use crate::data::{ExpertReport, LayerExperts, off_diagonal};
use crate::methods::distinct;
use crate::plots::{self, FEW, MANY, Numbers, Trend, range};
use crate::units;

/// One arm: its first seed, and the others.
pub(super) struct ArmExperts<'r> {
    /// The first seed.
    pub(super) first: View<'r>,
    /// The other seeds, without maps of experts by experts.
    pub(super) others: Vec<View<'r>>,
}

/// One model's experts as the page shows them.
pub(super) struct View<'r> {
    /// The data behind it.
    pub(super) report: &'r ExpertReport,
    /// Experts, experts per token and tokens, in words.
    pub(super) measured: String,
    /// Collapsed layers and dead experts, in words.
    pub(super) warnings: Vec<String>,
    /// That there are none, where that was measured.
    pub(super) sound: bool,
    /// The load map.
    pub(super) load: Section,
    /// A row per layer.
    pub(super) summary: Table,
    /// Maps of the first, the middle and the last layer; empty for seeds other than the first.
    pub(super) maps: Vec<LayerMaps>,
    /// Maps of the layers between.
    pub(super) folded: Vec<LayerMaps>,
    /// By layer, the tokens each expert takes most of.
    pub(super) tokens: Vec<(usize, Table)>,
    /// What changed over training.
    pub(super) trends: Section,
}

/// The maps of one layer.
pub(super) struct LayerMaps {
    /// The model's layer index.
    pub(super) layer: usize,
    /// Maps, by how they are laid out.
    pub(super) sections: Vec<Section>,
}

/// Every arm's experts, in the order the arms appear.
pub(super) fn arms(reports: &[ExpertReport]) -> Result<Vec<ArmExperts<'_>>, Error> {
    let names = distinct(reports.iter().map(|report| report.arm.as_str()));
    let arm = |name: &&str| {
        let mut seeds = reports.iter().filter(|report| report.arm == **name);
        let first = seeds.next().map(whole);
        let others = seeds.map(short).collect::<Result<_, _>>();
        first.map(|first| Ok(ArmExperts { first: first?, others: others? }))
    };
    names.iter().filter_map(arm).collect()
}

/// All there is to see of one model's experts.
pub(super) fn whole(report: &ExpertReport) -> Result<View<'_>, Error> {
    let shown = shown(report.layers.len());
    let (mut maps, mut folded) = (Vec::new(), Vec::new());
    for (place, layer) in report.layers.iter().enumerate() {
        let list = if shown.contains(&place) { &mut maps } else { &mut folded };
        list.push(layer_maps(report, layer)?);
    }
    Ok(View { maps, folded, tokens: expert_tables::tokens(report), ..short(report)? })
}

/// Load, table and trends.
fn short(report: &ExpertReport) -> Result<View<'_>, Error> {
    let warnings = warnings(report);
    Ok(View {
        report,
        measured: measured(report),
        sound: warnings.is_empty() && report.layers.iter().any(|layer| layer.evenness().is_some()),
        warnings,
        load: load(report)?,
        summary: expert_tables::summary(report),
        maps: Vec::new(),
        folded: Vec::new(),
        tokens: Vec::new(),
        trends: trends(report)?,
    })
}

/// Places of the first, the middle and the last of `layers`, each once.
fn shown(layers: usize) -> Vec<usize> {
    let mut places = vec![0, layers / 2, layers.saturating_sub(1)];
    places.dedup();
    places
}

/// What was measured, in words.
fn measured(report: &ExpertReport) -> String {
    let (experts, chosen, tokens) = (report.experts, report.experts_per_token, units::count(Some(report.tokens)));
    let text = if report.text.is_empty() { String::new() } else { format!(" of {}", report.text) };
    let alone = if chosen == 1 { " With one expert per token, none are chosen together." } else { "" };
    format!("{experts} experts a layer, {chosen} per token, measured on {tokens} tokens{text}.{alone}")
}

fn load(report: &ExpertReport) -> Result<Section, Error> {
    let caption = "Share of assignments: no colour at the even share 1/N, blue for starved experts, orange for overloaded ones.";
    let section = Section::collect(String::new(), [(plots::load_svg(report), caption.to_owned())])?;
    Ok(section.laid_out(broad(report.experts)))
}

/// The maps of one layer: experts by experts, then domains, beside them where there is room.
fn layer_maps(report: &ExpertReport, layer: &LayerExperts) -> Result<LayerMaps, Error> {
    let (mut squares, domains) = (squares(report, layer), domains(report, layer));
    let beside = report.experts <= FEW;
    let class = if report.experts > MANY { "" } else { "small" };
    let (inside, below) = if beside { (domains, None) } else { (None, domains) };
    squares.extend(inside);
    let mut sections = vec![Section::collect(String::new(), squares)?.laid_out(class)];
    if below.is_some() {
        sections.push(Section::collect(String::new(), below)?.laid_out(broad(report.experts)));
    }
    Ok(LayerMaps { layer: layer.layer, sections })
}

/// A picture, if there is something to draw, with its caption.
type Drawn = (Result<String, Error>, String);

/// Who is chosen with whom, where a token has several experts; who resembles whom.
fn squares(report: &ExpertReport, layer: &LayerExperts) -> Vec<Drawn> {
    let together = format!("Chosen together: {} between different experts.", range(off_diagonal(&layer.co_activation), Numbers::Percent));
    let similar = format!("Similarity: {} between different experts.", range(off_diagonal(&layer.similarity), Numbers::Plain));
    let several = (report.experts_per_token != 1).then(|| (plots::co_activation_svg(report, layer), together));
    several.into_iter().chain([(plots::similarity_svg(report, layer), similar)]).collect()
}

/// Who takes which domain, where the model was measured on some.
fn domains(report: &ExpertReport, layer: &LayerExperts) -> Option<Drawn> {
    let any = report.layers.iter().any(|layer| !layer.domains.is_empty());
    let caption = "Domains: no colour at the even share K/N, orange where an expert takes more of a domain than that.";
    any.then(|| (plots::domains_svg(report, layer), caption.to_owned()))
}

/// What changed over training; the balance loss only where it was kept.
fn trends(report: &ExpertReport) -> Result<Section, Error> {
    let kept = |trend: &Trend| {
        let mut points = report.over_training.iter().flat_map(|layer| &layer.points);
        *trend != Trend::Balance || points.any(|point| trend.of(point, report.experts).is_some())
    };
    let caption = |trend: Trend| format!("{}, by layer.", sentence(trend.title()));
    let drawn = Trend::ALL.into_iter().filter(kept).map(|trend| (plots::trend_svg(report, trend), caption(trend)));
    Section::collect(String::new(), drawn)
}

/// The text with a capital first letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The layout of pictures with a column per expert.
const fn broad(experts: usize) -> &'static str {
    if experts > MANY { "broad" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_middle_and_last_layer_are_shown_once() {
        assert_eq!(shown(24), [0, 12, 23]);
        assert_eq!(shown(2), [0, 1]);
        assert_eq!(shown(1), [0]);
    }
}
