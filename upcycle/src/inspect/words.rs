//! An inspection as lines for a terminal, what is wrong said first in words.

use super::report::{COLLAPSED, ExpertReport, LayerExperts};

impl ExpertReport {
    /// What is wrong: layers whose load has collapsed and experts without a token, a sentence each; empty where all is well.
    pub fn warnings(&self) -> Vec<String> {
        self.layers.iter().flat_map(LayerExperts::warnings).collect()
    }

    /// The report as lines: a row a layer, warnings, notes.
    pub fn lines(&self) -> Vec<String> {
        let Self { arm, experts, experts_per_token, tokens, text, .. } = self;
        let mut lines = vec![
            format!("{arm}: {experts} experts a layer, {experts_per_token} for each token, measured on {tokens} tokens of {text}"),
            "  layer      load min / max   entropy   dead    router   saturation   similarity   to parent   vocabulary in / out".into(),
        ];
        lines.extend(self.layers.iter().map(LayerExperts::line));
        lines.extend(self.warnings().into_iter().map(|warning| format!("  warning: {warning}")));
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        lines
    }
}

impl LayerExperts {
    fn line(&self) -> String {
        let least = self.load.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.load.iter().copied().fold(0.0, f64::max);
        let ln = (self.load.len() as f64).ln();
        let router = self.router_entropy.filter(|_| self.load.len() > 1).map(|entropy| entropy / ln);
        let vocabulary = self.vocabulary.as_ref().map_or_else(|| "-".into(), |v| format!("{:.3} / {:.3}", v.input, v.output));
        format!(
            "  {:>5}   {:>5.1} % / {:>5.1} %   {:>7}   {:>4}   {:>7}   {:>10}   {:>10}   {:>9}   {vocabulary:>19}",
            self.layer,
            100.0 * least,
            100.0 * most,
            share(self.evenness()),
            self.dead.len(),
            share(router),
            number(self.saturation),
            number(self.mean_similarity()),
            number(self.mean_parent_similarity()),
        )
    }

    fn warnings(&self) -> Vec<String> {
        let (layer, experts) = (self.layer, self.load.len());
        let low = self.evenness().filter(|evenness| *evenness < COLLAPSED);
        let collapsed = low.map(|evenness| {
            let busiest = (0..experts).max_by(|&a, &b| self.load[a].total_cmp(&self.load[b])).unwrap_or(0);
            let (evenness, load) = (100.0 * evenness, 100.0 * self.load[busiest]);
            format!("layer {layer} has collapsed: its load entropy is {evenness:.0} % of ln {experts}; expert {busiest} takes {load:.0} % of the assignments")
        });
        let names: Vec<String> = self.dead.iter().map(usize::to_string).collect();
        let (noun, verb) = if names.len() == 1 { ("expert", "is") } else { ("experts", "are") };
        let dead = (!names.is_empty()).then(|| format!("layer {layer}: {noun} {} {verb} dead, no token was sent there", names.join(", ")));
        collapsed.into_iter().chain(dead).collect()
    }
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{:.1} %", 100.0 * value))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapse_and_death_are_named() {
        let layer =
            LayerExperts { layer: 5, load: vec![0.97, 0.03, 0.0, 0.0], load_entropy: 0.1348, dead: vec![2, 3], ..Default::default() };
        let even = LayerExperts { layer: 6, load: vec![0.5, 0.5], load_entropy: 2_f64.ln(), ..Default::default() };
        let report = ExpertReport { layers: vec![layer, even], ..Default::default() };
        assert_eq!(
            report.warnings(),
            [
                "layer 5 has collapsed: its load entropy is 10 % of ln 4; expert 0 takes 97 % of the assignments",
                "layer 5: experts 2, 3 are dead, no token was sent there"
            ]
        );
    }
}
