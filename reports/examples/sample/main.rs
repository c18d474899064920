//! Writes the page of a made-up report, to look at: `cargo run -p coppice-reports --example sample -- PATH.html`.
//!
//! No number in it was ever measured. With a second path, the standalone picture of the curve goes there; with a third, the page
//! of one model's 64 experts in 24 layers.

mod experts;
mod methods;

use std::collections::BTreeMap;
use std::error::Error;

use coppice_reports::data::{
    Arm, Check, Comparison, Curve, Curve2d, CurvePoint, ExpertLoad, Flagged, Interval, Knowledge, Measure, Point, Report, Role,
    ScoreResult, SeedResult, Stage, Token,
};
use coppice_reports::{quality_curve_svg, render_experts_html, render_html};

const ARMS: [(&str, f64); 3] = [("control", 0.0), ("top1", 0.05), ("top2", 0.11)];

const SCORES: [(&str, f64, &str); 9] = [
    ("msp", 0.934, "the answer itself"),
    ("perplexity", 0.921, "the answer itself"),
    ("mean_token_entropy", 0.917, "the answer itself"),
    ("max_token_entropy", 0.902, "the answer itself"),
    ("semantic_entropy", 0.913, "10 samples"),
    ("discrete_semantic_entropy", 0.896, "10 samples"),
    ("exact_match_rate", 0.885, "10 samples"),
    ("lexical_similarity", 0.872, "10 samples"),
    ("length", 0.561, "nothing"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1);
    let page = paths.next().ok_or("give the path of the page to write")?;
    std::fs::write(page, render_html(&sample())?)?;
    if let Some(picture) = paths.next() {
        std::fs::write(picture, quality_curve_svg(&sample())?)?;
    }
    if let Some(page) = paths.next() {
        std::fs::write(page, render_experts_html(&experts::model("top8", 0, 64, 8, 24, 2))?)?;
    }
    Ok(())
}

fn sample() -> Report {
    Report {
        arms: arms(),
        comparisons: comparisons(),
        curves: curves(),
        expert_load: loads(),
        experts: [("top1", 0, 1), ("top2", 0, 2), ("top2", 1, 2)].map(|(arm, seed, k)| experts::model(arm, seed, 8, k, 4, k - 1)).into(),
        methods: methods::methods(),
        knowledge: knowledge(),
        scores: scores(),
        roc: roc(),
        risk_coverage: risk_coverage(),
        flagged: flagged(),
        ..words()
    }
}

fn words() -> Report {
    let strings = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let stage = |name: &str, seconds, cached| Stage { name: name.into(), seconds: Some(seconds), cached };
    Report {
        title: "Sample: capacity and hallucination".into(),
        question: "A small model makes things up because it lacks capacity. If upcycling adds capacity at the same \
                   inference FLOPs, how much less does it hallucinate?"
            .into(),
        summary: strings(&[
            "Made-up numbers: top-2 upcycling knows 11.0 points more facts than the dense control, for 1.6 times its FLOPs per token.",
            "At the control's own FLOPs, top-1 upcycling knows 5.0 points more (interval 2.1 to 7.9).",
            "The best score, msp, tells wrong answers from right ones with an AUROC of 0.934.",
        ]),
        conventions: "decode at context 128, batch 1; a multiply-accumulate is 2 FLOPs; router and head counted.".into(),
        recipe_toml: "[world]\npeople = 250\nexposures = [0, 1, 5, 20, 100]\n\n[train]\nlearning_rate = 1e-3\n".into(),
        environment: BTreeMap::from(
            [("libtorch", "2.11.0"), ("cpu", "2 cores, AVX-512"), ("git", "0000000"), ("seed", "7")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        reproduce: strings(&["git clone … && cd coppice", "make demo"]),
        stages: vec![stage("world", 1.2, true), stage("dense pre-training", 151.0, false), stage("detection", 61.5, false)],
        checks: vec![
            Check {
                name: "entropy on people never told of".into(),
                expected: "≥ 0.85 × ln(pool)".into(),
                found: "0.93".into(),
                passed: true,
            },
            Check {
                name: "entropy on people told most often".into(),
                expected: "≤ 0.2 × ln(pool)".into(),
                found: "0.24".into(),
                passed: false,
            },
        ],
        limits: strings(&["Every number on this page is invented.", "The demo is limited by exposure, not by capacity."]),
        notes: strings(&["Planted people are left out of the headline figures and have rows of their own."]),
        ..Report::default()
    }
}

fn arms() -> Vec<Arm> {
    let labels = ["dense control", "upcycled, top-1 of 4", "upcycled, top-2 of 4"];
    let costs = [(1_190_000, 1_190_000, 2.31e6, 4.76e6), (3_100_000, 1_200_000, 2.34e6, 4.80e6), (3_100_000, 1_840_000, 3.62e6, 7.4e6)];
    let arm = |(place, cost): (usize, (u64, u64, f64, f64))| {
        let (name, gain) = ARMS[place];
        Arm {
            name: name.into(),
            label: labels[place].into(),
            role: if name == "control" { Role::Control } else { Role::Upcycled },
            parameters: Some(cost.0),
            active_parameters: Some(cost.1),
            flops_per_token: Some(cost.2),
            bytes_per_token: Some(cost.3),
            latency_ms: Some(0.21 + gain),
            latency_batch8_ms: Some(0.05 + 2.0 * gain),
            seeds: (0..2).map(|seed| result(seed, gain)).collect(),
            ..Arm::default()
        }
    };
    costs.into_iter().enumerate().map(arm).collect()
}

fn result(seed: u64, gain: f64) -> SeedResult {
    let shift = if seed == 0 { 0.012 } else { -0.012 };
    SeedResult {
        seed,
        validation_loss: Some(1.93 - gain + shift),
        facts_known: Some(0.612 + gain + shift),
        made_up: Some(0.31 - gain + shift),
        best_auroc: Some(0.93 + gain / 10.0 + shift / 4.0),
        best_score: Some("msp".into()),
    }
}

fn comparisons() -> Vec<Comparison> {
    let cases = [
        ("top1", Measure::FactsKnown, 0.05, 0.021, 0.079),
        ("top2", Measure::FactsKnown, 0.11, 0.081, 0.139),
        ("top1", Measure::MadeUp, -0.02, -0.05, 0.01),
        ("top2", Measure::ValidationLoss, -0.11, -0.14, -0.08),
    ];
    let comparison = |(arm, measure, difference, low, high): (&str, _, _, _, _)| Comparison {
        arm: arm.into(),
        control: "control".into(),
        measure,
        difference: Some(difference),
        interval: Some(Interval { low, high }),
        confidence: Some(0.95),
        questions: Some(300),
    };
    cases.map(comparison).into()
}

/// Numbers that look like noise, between -1 and 1.
fn noise(seed: u64, step: u64) -> f64 {
    ((seed * 7919 + step * 104_729) as f64).sin()
}

fn curves() -> Vec<Curve> {
    let curve = |arm: &str, seed: u64, phase: &str, start: f64, end: f64| {
        let point = |i: u64| {
            let loss = end + (start - end) * (-(i as f64) / 25.0).exp();
            let validation_loss = (i.is_multiple_of(10)).then_some(loss + 0.03);
            CurvePoint { step: i * 10, tokens: i * 10_240, train_loss: Some(loss + 0.05 * noise(seed, i)), validation_loss }
        };
        Curve { arm: arm.into(), seed, phase: phase.into(), points: (0..=120).map(point).collect() }
    };
    let continued = ARMS
        .iter()
        .flat_map(|(arm, gain)| (0..2).map(move |seed| curve(arm, seed, "continued training", 2.2, 1.9 - gain + 0.01 * seed as f64)));
    [curve("dense", 0, "pre-training", 7.3, 2.2)].into_iter().chain(continued).collect()
}

fn loads() -> Vec<ExpertLoad> {
    let layer = |seed: u64, layer: u64| {
        let raw: Vec<f64> = (0..4).map(|e| 1.0 + 0.35 * noise(seed + 3 * layer, e + 5)).collect();
        raw.iter().map(|v| v / raw.iter().sum::<f64>()).collect()
    };
    let load = |(arm, seed): (&str, u64)| ExpertLoad {
        arm: arm.into(),
        seed,
        layers: (0..4).map(|l| layer(seed + arm.len() as u64, l)).collect(),
        layer_indices: Vec::new(),
    };
    [("top1", 0), ("top1", 1), ("top2", 0), ("top2", 1)].map(load).into()
}

fn knowledge() -> Vec<Knowledge> {
    let groups = [
        (0, "never", 0.04, 0.93),
        (8, "told 8 ×", 0.15, 0.78),
        (40, "told 40 ×", 0.52, 0.4),
        (160, "told 160 ×", 0.93, 0.1),
        (800, "told 800 ×", 0.98, 0.03),
    ];
    let row = |arm: &str, gain: f64, (told, group, correct, entropy): (u64, &str, f64, f64)| {
        let correct = correct + if told == 0 { 0.0 } else { gain * (1.0 - correct) };
        let half = 1.96 * (correct * (1.0 - correct) / 120.0).sqrt();
        Knowledge {
            arm: arm.into(),
            group: group.into(),
            exposures: Some(told),
            questions: 120,
            correct: Some(correct),
            interval: Some(Interval { low: (correct - half).max(0.0), high: (correct + half).min(1.0) }),
            entropy: Some(entropy - gain * 0.2 * entropy),
        }
    };
    let planted = |arm: &str| Knowledge {
        arm: arm.into(),
        group: "two conflicting biographies".into(),
        questions: 40,
        correct: Some(0.9),
        ..Knowledge::default()
    };
    ARMS.iter().flat_map(|(arm, gain)| groups.map(|g| row(arm, *gain, g)).into_iter().chain([planted(arm)])).collect()
}

fn scores() -> Vec<ScoreResult> {
    let row = |arm: &str, (score, auroc, cost): (&str, f64, &str)| ScoreResult {
        arm: arm.into(),
        score: score.into(),
        auroc: Some(auroc),
        auroc_interval: Some(Interval { low: auroc - 0.021, high: auroc + 0.019 }),
        auc_pr: Some(auroc * 0.93),
        base_rate: Some(0.47),
        prr: Some((auroc - 0.5) * 1.8),
        ece: (score != "length").then_some(0.03),
        brier: Some(0.4 - auroc / 3.0),
        cost: cost.into(),
    };
    ARMS.iter().flat_map(|(arm, _)| SCORES.map(|s| row(arm, s))).collect()
}

/// The ROC curve of two normal-like classes with about this AUROC: `y = x^((1 − a) / a)`.
fn roc() -> Vec<Curve2d> {
    curve(|auroc, x| x.powf((1.0 - auroc) / auroc))
}

fn risk_coverage() -> Vec<Curve2d> {
    curve(|auroc, x| 0.47 * x.powf((auroc - 0.5) * 5.0))
}

fn curve(height: impl Fn(f64, f64) -> f64) -> Vec<Curve2d> {
    let points = |auroc: f64| (0..=200).map(|i| f64::from(i) / 200.0).map(|x| Point { x, y: height(auroc, x) }).collect();
    let of = |arm: &str, (score, auroc, _): (&str, f64, &str)| Curve2d { arm: arm.into(), score: score.into(), points: points(auroc) };
    ARMS.iter().flat_map(|(arm, _)| SCORES.map(|s| of(arm, s))).collect()
}

fn flagged() -> Vec<Flagged> {
    let token = |(text, surprise): (&str, f64)| Token { text: text.into(), surprise: Some(surprise), entropy: Some(surprise * 0.8) };
    let answer = |(place, label, city): (u8, u8, &str)| Flagged {
        arm: ARMS[usize::from(place % 3)].0.into(),
        prompt: "Where was Maren Oakhollow born?".into(),
        response: format!(" Maren Oakhollow was born in {city}."),
        reference: if label == 0 { vec![city.into()] } else { vec!["Silverford".into()] },
        label: Some(label),
        group: if label == 0 { "told 8 ×".into() } else { "never told".into() },
        score_name: "msp".into(),
        score: Some(5.2 - f64::from(place) * 0.4),
        tokens: [
            (" Maren", 0.02),
            (" Oak", 0.2),
            ("hollow", 0.01),
            (" was", 0.7),
            (" born", 1.2),
            (" in", 0.01),
            (&format!(" {city}"), 4.6 - f64::from(place) * 0.4),
            (".", 0.03),
        ]
        .map(token)
        .into(),
    };
    [(0, 1, "Ashmere"), (1, 1, "Dunwick"), (2, 0, "Kestrel Bay"), (3, 1, "Ashmere"), (4, 1, "Port <Elm> & Co")].map(answer).into()
}
