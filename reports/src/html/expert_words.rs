//! What is wrong with a model's experts, in words: layers that collapsed, experts that are dead.

use crate::data::{ExpertReport, LayerExperts};
use crate::units::percent;

/// More collapsed layers than this share one sentence.
const MOST_SENTENCES: usize = 3;

/// More dead experts of a layer than this are counted, not named.
const MOST_NAMED: usize = 8;

/// Sentences about collapsed layers and dead experts; none where all is well or nothing was measured.
pub(super) fn warnings(report: &ExpertReport) -> Vec<String> {
    let collapsed: Vec<&LayerExperts> = report.layers.iter().filter(|layer| layer.is_collapsed()).collect();
    let sentences =
        if collapsed.len() > MOST_SENTENCES { vec![collapse_of_many(&collapsed)] } else { collapsed.into_iter().map(collapse).collect() };
    sentences.into_iter().chain(dead(report)).collect()
}

/// One layer that collapsed, and who took what.
fn collapse(layer: &LayerExperts) -> String {
    let finite = |(_, share): &(usize, &f64)| share.is_finite();
    let busiest = layer.load.iter().enumerate().filter(finite).max_by(|(_, a), (_, b)| a.total_cmp(b));
    let takes = busiest.map(|(expert, share)| format!("; expert {expert} takes {} of the assignments", percent(Some(*share))));
    let (share, experts) = (percent(layer.evenness()), layer.load.len());
    format!("Layer {} has collapsed: its load entropy is {share} of ln {experts}, below half{}.", layer.layer, takes.unwrap_or_default())
}

/// Many layers that collapsed, and the worst of them.
fn collapse_of_many(layers: &[&LayerExperts]) -> String {
    let named: Vec<String> = layers.iter().map(|layer| layer.layer.to_string()).collect();
    let lowest = layers.iter().filter_map(|layer| layer.evenness()).fold(f64::INFINITY, f64::min);
    let (count, list, lowest) = (layers.len(), named.join(", "), percent(Some(lowest)));
    format!("{count} layers have collapsed, their load entropy below half of ln N, at the lowest {lowest} of it: layers {list}.")
}

/// All dead experts, by layer.
fn dead(report: &ExpertReport) -> Option<String> {
    let layers = report.layers.iter().filter(|layer| !layer.dead.is_empty());
    let total: usize = layers.clone().map(|layer| layer.dead.len()).sum();
    let (noun, verb) = if total == 1 { ("expert", "is") } else { ("experts", "are") };
    let listed = layers.map(dead_of).collect::<Vec<_>>().join("; ");
    (total > 0).then(|| format!("{total} {noun} {verb} dead, without a single token: {listed}."))
}

fn dead_of(layer: &LayerExperts) -> String {
    let mut named: Vec<String> = layer.dead.iter().take(MOST_NAMED).map(usize::to_string).collect();
    let more = layer.dead.len() - named.len();
    named.extend((more > 0).then(|| format!("and {more} more")));
    let noun = if layer.dead.len() == 1 { "expert" } else { "experts" };
    format!("layer {}: {noun} {}", layer.layer, named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units;

    fn said(layers: Vec<LayerExperts>) -> Vec<String> {
        let report = ExpertReport { layers, ..ExpertReport::default() };
        warnings(&report).iter().map(|text| text.replace(units::GAP, " ")).collect()
    }

    fn collapsed(layer: usize) -> LayerExperts {
        LayerExperts { layer, load: vec![0.9, 0.1, 0.0, 0.0], load_entropy: 0.325, dead: vec![2, 3], ..LayerExperts::default() }
    }

    #[test]
    fn collapse_and_death_are_said_in_words() {
        let even = LayerExperts { layer: 6, load: vec![0.25; 4], load_entropy: 4_f64.ln(), ..LayerExperts::default() };
        let unknown = LayerExperts { layer: 7, load: vec![f64::NAN; 4], load_entropy: f64::NAN, ..LayerExperts::default() };
        assert_eq!(
            said(vec![collapsed(5), even, unknown, LayerExperts::default()]),
            [
                "Layer 5 has collapsed: its load entropy is 23.4 % of ln 4, below half; expert 0 takes 90.0 % of the assignments.",
                "2 experts are dead, without a single token: layer 5: experts 2, 3.",
            ]
        );
    }

    #[test]
    fn many_collapses_are_one_sentence_and_many_dead_are_counted() {
        let sentences = said((0..5).map(collapsed).collect());
        assert_eq!(sentences.len(), 2);
        assert!(sentences[0].starts_with("5 layers have collapsed") && sentences[0].ends_with("layers 0, 1, 2, 3, 4."), "{sentences:?}");
        let many = LayerExperts { dead: (0..11).collect(), ..LayerExperts::default() };
        assert_eq!(said(vec![many]), ["11 experts are dead, without a single token: layer 0: experts 0, 1, 2, 3, 4, 5, 6, 7, and 3 more."]);
    }

    #[test]
    fn half_of_the_maximum_is_no_collapse_yet() {
        let half = LayerExperts { load: vec![0.5, 0.5, 0.0, 0.0], load_entropy: 2_f64.ln(), ..LayerExperts::default() };
        assert!(said(vec![half]).is_empty());
    }
}
