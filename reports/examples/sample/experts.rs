//! Made-up experts: a sound model of 8 experts and one of 64 whose last layers went wrong.

use coppice_reports::data::{DomainShare, ExpertReport, ExpertTrend, LayerExperts, TokenShare, TrendPoint, Vocabulary};

use crate::noise;

const DOMAINS: [&str; 5] = ["encyclopaedia", "code", "dialogue", "mathematics", "news & <letters>"];
const TOKENS: [&str; 6] = [" Oak", "hollow", " the", "\n", " was born", "ß"];

/// One model of `experts` experts in `layers` layers; `broken` ones from the end have collapsed or dead experts.
pub(crate) fn model(arm: &str, seed: u64, experts: usize, chosen: usize, layers: usize, broken: usize) -> ExpertReport {
    let layer = |place: usize| layer(seed + 17 * place as u64, place, experts, chosen, layers - place <= broken);
    ExpertReport {
        arm: arm.into(),
        label: format!("upcycled, top-{chosen} of {experts}"),
        seed,
        experts,
        experts_per_token: chosen,
        tokens: 262_144,
        text: "the validation set".into(),
        layers: (0..layers).map(layer).collect(),
        over_training: (0..layers).map(|place| trend(seed, place, experts)).collect(),
        notes: vec!["Saturation is measured against the checkpoint at half of the training.".into()],
    }
}

fn layer(seed: u64, place: usize, experts: usize, chosen: usize, broken: bool) -> LayerExperts {
    let load = load(seed, experts, broken);
    let similarity = matrix(experts, |i, j| 0.9 - 0.03 * place as f64 + 0.05 * noise(seed + (i * j) as u64, (i + j) as u64));
    let even = (chosen - 1) as f64 / (experts - 1) as f64;
    LayerExperts {
        layer: place,
        load_entropy: load.iter().filter(|v| **v > 0.0).map(|v| -v * v.ln()).sum(),
        dead: (0..experts).filter(|expert| load[*expert] == 0.0).collect(),
        load,
        router_entropy: Some(1.2 + 0.1 * noise(seed, 1)),
        saturation: (place > 0).then(|| 0.7 + 0.02 * place as f64 / experts as f64),
        co_activation: matrix(experts, |i, j| (even * (1.0 + 0.8 * noise(seed + i as u64, j as u64))).clamp(0.0, 1.0)),
        similarity,
        parent_similarity: (0..experts).map(|e| 0.93 + 0.02 * noise(seed, e as u64)).collect(),
        domains: DOMAINS.iter().enumerate().map(|(d, name)| domain(name, seed + d as u64, experts, chosen)).collect(),
        vocabulary: Some(vocabulary(seed, experts)),
    }
}

/// A load near the even one, or with a tenth of the experts taking nearly all and one dead.
fn load(seed: u64, experts: usize, broken: bool) -> Vec<f64> {
    let raw = |expert: usize| match expert {
        1 if broken => 0.0,
        e if broken && e <= experts / 10 + 2 && e > 1 => 40.0 + e as f64,
        e => (1.0 + 0.55 * noise(seed, e as u64 + 5)).max(0.05),
    };
    let raw: Vec<f64> = (0..experts).map(raw).collect();
    raw.iter().map(|v| v / raw.iter().sum::<f64>()).collect()
}

fn matrix(experts: usize, value: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let at = |i: usize, j: usize| if i == j { 1.0 } else { value(i.min(j), i.max(j)).min(1.0) };
    let mut rows: Vec<Vec<f64>> = (0..experts).map(|i| (0..experts).map(|j| at(i, j)).collect()).collect();
    rows[experts - 1][0] = f64::NAN;
    rows
}

fn domain(name: &str, seed: u64, experts: usize, chosen: usize) -> DomainShare {
    let raw: Vec<f64> = (0..experts).map(|e| (1.0 + 0.7 * noise(seed, e as u64 + 2)).max(0.0)).collect();
    let scale = chosen as f64 / raw.iter().sum::<f64>();
    DomainShare { domain: name.into(), tokens: 52_428, share: raw.iter().map(|v| v * scale).collect() }
}

fn vocabulary(seed: u64, experts: usize) -> Vocabulary {
    let token = |expert: usize, rank: usize| TokenShare {
        token: TOKENS[(expert + rank) % TOKENS.len()].into(),
        share: 0.9 - 0.07 * rank as f64,
        count: 40 + seed + (expert * rank) as u64 * 700,
    };
    Vocabulary { input: 0.46, output: 0.31, top: (0..experts).map(|e| (0..5).map(|rank| token(e, rank)).collect()).collect() }
}

fn trend(seed: u64, place: usize, experts: usize) -> ExpertTrend {
    let point = |step: u64| {
        let done = 1.0 - (-(step as f64) / 400.0).exp();
        TrendPoint {
            step,
            similarity: Some(1.0 - (0.05 + 0.02 * place as f64) * done),
            load_entropy: (step > 0).then(|| (experts as f64).ln() * (0.9 + 0.08 * done + 0.01 * noise(seed + step, place as u64))),
            balance: Some(1.0 + 0.3 * (1.0 - done) + 0.02 * noise(step, place as u64)),
            dead: Some(if step < 200 { (place % 3) as u64 } else { 0 }),
        }
    };
    ExpertTrend { layer: place, points: (0..=12).map(|i| point(i * 100)).collect() }
}
