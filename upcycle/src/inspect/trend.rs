//! How experts developed in training, from the lines of a run's `metrics.jsonl`.
//!
//! A line counts where it has `step` and `expert_load`. What an older run did not write down (the load's entropy, dead experts) follows
//! from the shares; its balance, a mean over the layers, is a layer's own only where there is one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::report::{ExpertTrend, TrendPoint, entropy};
use crate::convert::options::require;
use crate::convert::{ConvertError, Result};

/// Most points kept of a layer: evenly spaced, the first and the last among them.
pub const MOST_POINTS: usize = 200;

/// A line; fields that say nothing about experts are passed over.
#[derive(Deserialize)]
struct Line {
    step: u64,
    /// Mean over the routed layers.
    balance: Option<f64>,
    /// In the order of `expert_load`.
    balance_per_layer: Option<Vec<f64>>,
    expert_load: Option<Vec<Load>>,
}

#[derive(Deserialize)]
struct Load {
    layer: usize,
    share: Vec<f64>,
    load_entropy: Option<f64>,
    dead: Option<u64>,
    similarity: Option<f64>,
}

/// The trends of every routed layer in a metrics file.
///
/// # Errors
/// One sentence with the file, and the line that is malformed; a file without one line on experts.
pub fn read(path: &Path) -> Result<Vec<ExpertTrend>> {
    let text = std::fs::read_to_string(path).map_err(ConvertError::io(path))?;
    let mut layers: BTreeMap<usize, Vec<TrendPoint>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refuse = |error| ConvertError::Options(format!("{}, line {}: not a line of metrics ({error})", path.display(), index + 1));
        let line: Line = serde_json::from_str(line).map_err(refuse)?;
        for (place, load) in line.expert_load.iter().flatten().enumerate() {
            layers.entry(load.layer).or_default().push(point(&line, place, load));
        }
    }
    require(!layers.is_empty(), || format!("{} has no line with expert_load: is it the metrics of a routed model?", path.display()))?;
    Ok(layers.into_iter().map(|(layer, points)| ExpertTrend { layer, points: thinned(points) }).collect())
}

fn point(line: &Line, place: usize, load: &Load) -> TrendPoint {
    let own = line.balance_per_layer.as_ref().and_then(|layers| layers.get(place).copied());
    let only = line.expert_load.as_ref().is_some_and(|layers| layers.len() == 1);
    let dead = || load.share.iter().filter(|&&share| share == 0.0).count() as u64;
    TrendPoint {
        step: line.step,
        similarity: load.similarity,
        load_entropy: Some(load.load_entropy.unwrap_or_else(|| entropy(&load.share))),
        balance: own.or(line.balance.filter(|_| only)),
        dead: Some(load.dead.unwrap_or_else(dead)),
    }
}

/// At most [`MOST_POINTS`] of the points. Those with a similarity are measured rarely, and are all kept where they alone are few enough.
fn thinned(points: Vec<TrendPoint>) -> Vec<TrendPoint> {
    let (last, count) = (points.len().saturating_sub(1), points.len());
    if count <= MOST_POINTS {
        return points;
    }
    let mut kept: Vec<usize> = (0..MOST_POINTS).map(|place| place * last / (MOST_POINTS - 1)).collect();
    let rare: Vec<usize> = (0..count).filter(|&place| points[place].similarity.is_some()).collect();
    kept.extend(if rare.len() <= MOST_POINTS { &rare[..] } else { &[] });
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|place| points[place]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trends(text: &str) -> Result<Vec<ExpertTrend>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn what_a_line_lacks_follows_from_its_shares() {
        let found = trends(concat!(
            "{\"step\":1,\"loss\":2.0,\"balance\":1.5,\"expert_load\":[{\"layer\":1,\"share\":[0.5,0.5,0.0],\"max\":0.5,\"min\":0.0}]}\n",
            "{\"step\":2,\"validation\":{\"loss\":3.0}}\n",
            "{\"step\":3,\"balance\":1.5,\"balance_per_layer\":[1.25],\"expert_load\":[{\"layer\":1,\"share\":[1.0,0.0,0.0],",
            "\"load_entropy\":0.5,\"dead\":1,\"similarity\":0.75}]}\n",
        ));
        let first =
            TrendPoint { step: 1, similarity: None, load_entropy: Some(-(2.0 * 0.5 * 0.5_f64.ln())), balance: Some(1.5), dead: Some(1) };
        let third = TrendPoint { step: 3, similarity: Some(0.75), load_entropy: Some(0.5), balance: Some(1.25), dead: Some(1) };
        assert_eq!(found.unwrap(), [ExpertTrend { layer: 1, points: vec![first, third] }]);
    }

    #[test]
    fn a_long_run_is_thinned_and_keeps_its_ends() {
        let point = |step| TrendPoint { step, similarity: (step == 7).then_some(0.5), ..TrendPoint::default() };
        let kept = thinned((1..=5000).map(point).collect());
        assert!(kept.len() <= MOST_POINTS + 1 && kept.iter().any(|point| point.step == 7));
        assert_eq!((kept[0].step, kept.last().unwrap().step), (1, 5000));
    }

    #[test]
    fn a_malformed_line_and_a_dense_run_are_refused() {
        assert!(trends("{\"step\":1}\n{\"step\":").unwrap_err().to_string().contains("metrics.jsonl, line 2"));
        assert!(trends("{\"step\":1,\"loss\":2.0}\n").unwrap_err().to_string().contains("no line with expert_load"));
    }
}
