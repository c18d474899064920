//! Made-up methods on two data sets.

use coppice_reports::data::{MethodResult, MethodSeed, Role};

use crate::noise;

/// Name, role, jump at step 0 in nats, gain over the control in nats.
const METHODS: [(&str, Role, f64, f64); 14] = [
    ("dense control", Role::Control, 0.0, 0.0),
    ("copy, top-1", Role::Upcycled, 0.0, 0.021),
    ("copy, top-2", Role::Upcycled, 0.0, 0.052),
    ("copy + noise 0.01", Role::Upcycled, 0.0021, 0.055),
    ("copy + noise 0.1", Role::Upcycled, 0.31, 0.031),
    ("slice, top-2 of 8", Role::Upcycled, 2.9, -0.04),
    ("virtual groups, G 2", Role::Upcycled, 0.0, 0.06),
    ("virtual groups, G 4", Role::Upcycled, 0.0, 0.064),
    ("drop 0.5", Role::Upcycled, 1.21, 0.058),
    ("drop 1.0", Role::Upcycled, 3.4, -0.011),
    ("shared expert", Role::Upcycled, 0.0, 0.047),
    ("clustered experts by activation pattern", Role::Upcycled, 1.9, 0.013),
    ("branch-train-mix", Role::Upcycled, 0.12, 0.071),
    ("from scratch", Role::FromScratch, f64::NAN, -0.18),
];

/// Every method on both data sets; the last two ran on one only.
pub(crate) fn methods() -> Vec<MethodResult> {
    let world = METHODS.iter().enumerate().map(|(place, method)| result("world", place, *method));
    let text = METHODS.iter().enumerate().take(METHODS.len() - 2).map(|(place, method)| result("text", place, *method));
    world.chain(text).collect()
}

fn result(dataset: &str, place: usize, (name, role, jump, gain): (&str, Role, f64, f64)) -> MethodResult {
    let routed = role != Role::Control;
    MethodResult {
        arm: name.into(),
        label: String::new(),
        dataset: dataset.into(),
        role,
        summary: format!("Made up: what {name} does, in a sentence."),
        parameters: Some(if routed { 3_100_000 } else { 1_190_000 } + if dataset == "text" { 900_000 } else { 0 }),
        active_parameters: Some(if name.contains("top-2") { 1_840_000 } else { 1_190_000 }),
        flops_per_token: Some(2.31e6),
        seeds: (0..3).map(|s| seed(dataset, (place, s), routed, jump, gain)).collect(),
    }
}

fn seed(dataset: &str, (place, seed): (usize, u64), routed: bool, jump: f64, gain: f64) -> MethodSeed {
    let shift = 0.012 * noise(seed + 3, place as u64 + dataset.len() as u64);
    MethodSeed {
        seed,
        step0_jump: (routed && jump.is_finite()).then_some(jump * (1.0 + shift)),
        step0_exact: (routed && jump.is_finite()).then_some(jump == 0.0),
        final_loss: Some(if dataset == "world" { 1.93 } else { 3.31 } - gain + shift),
        facts_known: (dataset == "world").then_some(0.61 + 2.0 * gain - shift),
        load_entropy: routed.then_some(0.94 + shift),
        dead_experts: routed.then_some(if jump > 2.0 { seed } else { 0 }),
        tokens: Some(2_200_000),
    }
}
