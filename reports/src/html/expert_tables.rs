//! Tables of the experts: a row per layer, and per layer the tokens each expert takes most of.

use super::flagged::visible;
use super::table::{Cell, Row, Table, number, words};
use crate::data::{ExpertReport, LayerExperts, TokenShare, Vocabulary};
use crate::units::{self, count, fixed, percent};

/// A row per layer.
pub(super) fn summary(report: &ExpertReport) -> Table {
    let columns = vec![
        words("layer"),
        number("load entropy", "share of ln N: 100 % = even, 0 = one expert takes all; below 50 % counts as collapse"),
        number("busiest", "its share of the assignments"),
        number("idlest", "its share of the assignments"),
        number("dead", "experts without a token"),
        number("router entropy", "of the router's distribution over experts, nats per token"),
        number("saturation", "share of a token's experts that the reference checkpoint chose too"),
        number("similarity", "mean cosine between the weights of two experts"),
        number("to parent", "mean cosine between an expert's weights and those of the dense MLP it came from"),
        number("vocabulary in", "mean over the tokens that go in, of the largest share one expert holds of that token's routings"),
        number("vocabulary out", "the same over the tokens that are predicted"),
    ];
    let rows = report.layers.iter().map(layer_row).collect();
    Table { caption: "The experts of each routed layer", columns, rows, ..Table::default() }
}

fn layer_row(layer: &LayerExperts) -> Row {
    let share = |value: Option<f64>| Cell::number(percent(value), value);
    let plain = |value: Option<f64>| Cell::number(fixed(value, 3), value);
    let vocabulary = |of: fn(&Vocabulary) -> f64| layer.vocabulary.as_ref().map(of);
    let dead = (!layer.load.is_empty() || !layer.dead.is_empty()).then_some(layer.dead.len() as u64);
    let class = match (layer.is_collapsed(), layer.dead.is_empty()) {
        (true, true) => "collapsed",
        (true, false) => "collapsed dead",
        (false, true) => "",
        (false, false) => "dead",
    };
    let cells = vec![
        Cell { key: layer.layer.to_string(), ..Cell::words(&layer.layer.to_string()) },
        share(layer.evenness()),
        extreme(layer, f64::max),
        extreme(layer, f64::min),
        Cell::number(count(dead), dead.map(|dead| dead as f64)),
        plain(layer.router_entropy),
        share(layer.saturation),
        plain(layer.mean_similarity()),
        plain(layer.mean_parent_similarity()),
        share(vocabulary(|vocabulary| vocabulary.input)),
        share(vocabulary(|vocabulary| vocabulary.output)),
    ];
    Row { class, cells }
}

/// The largest or smallest load, with the expert that has it.
fn extreme(layer: &LayerExperts, wanted: fn(f64, f64) -> f64) -> Cell {
    let share = layer.load.iter().copied().filter(|v| v.is_finite()).reduce(wanted);
    let expert = layer.load.iter().position(|v| Some(*v) == share);
    let named = expert.map(|expert| format!("expert {expert}: ")).unwrap_or_default();
    Cell::number(named + &percent(share), share)
}

/// By layer, the tokens each expert takes most of; layers without are left out.
pub(super) fn tokens(report: &ExpertReport) -> Vec<(usize, Table)> {
    let of_layer = |layer: &LayerExperts| {
        let top = &layer.vocabulary.as_ref()?.top;
        top.iter().any(|tokens| !tokens.is_empty()).then(|| (layer.layer, tokens_table(top)))
    };
    report.layers.iter().filter_map(of_layer).collect()
}

fn tokens_table(top: &[Vec<TokenShare>]) -> Table {
    let row = |(expert, tokens): (usize, &Vec<TokenShare>)| {
        let listed: Vec<String> = tokens.iter().map(token).collect();
        let listed = if listed.is_empty() { units::MISSING.to_owned() } else { listed.join(" · ") };
        let cells = vec![Cell { key: expert.to_string(), ..Cell::words(&expert.to_string()) }, Cell::words(&listed)];
        Row { class: "", cells }
    };
    let columns = vec![words("expert"), words("tokens it takes most of: share of the token's routings, and how many there were")];
    Table { caption: "Tokens by expert", columns, rows: top.iter().enumerate().map(row).collect(), ..Table::default() }
}

/// A token between marks of isolation, so that its direction of writing stays its own.
fn token(token: &TokenShare) -> String {
    let share = percent(Some(token.share)).replace(".0", "");
    let gap = units::GAP;
    format!("“\u{2068}{}\u{2069}”{gap}{share}{gap}of{gap}{}", visible(&token.token), count(Some(token.count)))
}
