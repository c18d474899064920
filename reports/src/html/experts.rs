//! What the experts became: one view per model, the first seed of each arm whole and the others folded and shorter.

use super::expert_tables;
use super::figures::Section;
use super::table::Table;
use crate::Error;
use crate::data::{ExpertReport, LayerExperts, off_diagonal};
use crate::methods::distinct;
use crate::plots::{self, MANY, Numbers, Trend, range};
use crate::units::{self, percent};

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
    pub(super) maps: Vec<Section>,
    /// Maps of the layers between.
    pub(super) folded: Vec<Section>,
    /// By layer, the tokens each expert takes most of.
    pub(super) tokens: Vec<(usize, Table)>,
    /// What changed over training.
    pub(super) trends: Section,
}

/// Every arm's experts, in the order the arms appear.
pub(super) fn arms(reports: &[ExpertReport]) -> Result<Vec<ArmExperts<'_>>, Error> {
    let names = distinct(reports.iter().map(|report| report.arm.as_str()));
    let arm = |name: &&str| {
        let mut seeds = reports.iter().filter(|report| report.arm == **name);
        let first = seeds.next().map(|report| whole(report));
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
    format!("{experts} experts a layer, {chosen} per token, measured on {tokens} tokens{text}.")
}

/// A sentence per collapsed layer, and one about dead experts.
fn warnings(report: &ExpertReport) -> Vec<String> {
    let collapsed = report.layers.iter().filter(|layer| layer.is_collapsed()).map(collapse);
    let dead: Vec<String> = report.layers.iter().filter(|layer| !layer.dead.is_empty()).map(dead_of).collect();
    let total: usize = report.layers.iter().map(|layer| layer.dead.len()).sum();
    let (noun, verb) = if total == 1 { ("expert", "is") } else { ("experts", "are") };
    let dead = (total > 0).then(|| format!("{total} {noun} {verb} dead, without a single token: {}.", dead.join("; ")));
    collapsed.chain(dead).collect()
}

fn collapse(layer: &LayerExperts) -> String {
    let finite = |(_, share): &(usize, &f64)| share.is_finite();
    let busiest = layer.load.iter().enumerate().filter(finite).max_by(|(_, a), (_, b)| a.total_cmp(b));
    let takes = busiest.map(|(expert, share)| format!("; expert {expert} takes {} of the assignments", percent(Some(*share))));
    let share = percent(layer.evenness());
    format!("Layer {} has collapsed: its load entropy is {share} of ln {}, below half{}.", layer.layer, layer.load.len(), takes.unwrap_or_default())
}

fn dead_of(layer: &LayerExperts) -> String {
    let named: Vec<String> = layer.dead.iter().map(usize::to_string).collect();
    let noun = if named.len() == 1 { "expert" } else { "experts" };
    format!("layer {}: {noun} {}", layer.layer, named.join(", "))
}

fn load(report: &ExpertReport) -> Result<Section, Error> {
    let caption = "Share of assignments: no colour at the even share 1/N, blue for starved experts, orange for overloaded ones.";
    let section = Section::collect(String::new(), [(plots::load_svg(report), caption.to_owned())])?;
    Ok(section.laid_out(broad(report.experts)))
}

/// The maps of one layer; the domains only where the model has some.
fn layer_maps(report: &ExpertReport, layer: &LayerExperts) -> Result<Section, Error> {
    let together = format!("Chosen together: {} between different experts.", range(off_diagonal(&layer.co_activation), Numbers::Percent));
    let similar = format!("Similarity: {} between different experts.", range(off_diagonal(&layer.similarity), Numbers::Plain));
    let mut drawn = vec![(plots::co_activation_svg(report, layer), together), (plots::similarity_svg(report, layer), similar)];
    if report.layers.iter().any(|layer| !layer.domains.is_empty()) {
        let domains = "Domains: no colour at the even share K/N, orange where an expert takes more of a domain than that.";
        drawn.push((plots::domains_svg(report, layer), domains.to_owned()));
    }
    let class = if report.experts > MANY { "large" } else { "small" };
    Ok(Section::collect(format!("Layer {}", layer.layer), drawn)?.laid_out(class))
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

    #[test]
    fn collapse_and_death_are_said_in_words() {
        let collapsed = LayerExperts { layer: 5, load: vec![0.9, 0.1, 0.0, 0.0], load_entropy: 0.325, dead: vec![2, 3], ..LayerExperts::default() };
        let even = LayerExperts { layer: 6, load: vec![0.25; 4], load_entropy: 4_f64.ln(), ..LayerExperts::default() };
        let unknown = LayerExperts { layer: 7, load: vec![f64::NAN; 4], load_entropy: f64::NAN, ..LayerExperts::default() };
        let report = ExpertReport { layers: vec![collapsed, even, unknown, LayerExperts::default()], ..ExpertReport::default() };
        let said: Vec<String> = warnings(&report).iter().map(|text| text.replace(units::GAP, " ")).collect();
        assert_eq!(
            said,
            [
                "Layer 5 has collapsed: its load entropy is 23.4 % of ln 4, below half; expert 0 takes 90.0 % of the assignments.",
                "2 experts are dead, without a single token: layer 5: experts 2, 3.",
            ]
        );
    }
}
