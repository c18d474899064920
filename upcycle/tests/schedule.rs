//! Learning rates against torch's schedulers and a numerical solution of the hybrid curve (`tests/golden/make_schedule.py`), their joints,
//! the published numbers, and what a recipe may not say.

use coppice_upcycle::train::schedule::{Schedule, ScheduleKind};
use serde_json::Value;

fn golden(name: &str) -> (Schedule, u64, Vec<(u64, f64)>) {
    let all: Value = serde_json::from_str(include_str!("golden/schedule.json")).unwrap();
    let case = &all[name];
    let rates: Vec<f64> = serde_json::from_value(case["rates"].clone()).unwrap();
    let at: Option<Vec<u64>> = serde_json::from_value(case["at"].clone()).unwrap();
    let at = at.unwrap_or_else(|| (0..rates.len() as u64).collect());
    (serde_json::from_value(case["recipe"].clone()).unwrap(), case["steps"].as_u64().unwrap(), at.into_iter().zip(rates).collect())
}

/// StableLM 2's schedule from step `start_step` on.
fn stablelm2(start_step: u64) -> Schedule {
    let schedule = Schedule::new(ScheduleKind::Hybrid, 1e-3);
    Schedule { warmup_steps: 9720, hybrid_steps: 540_000, start_step, ..schedule }
}

fn four(kind: ScheduleKind) -> Schedule {
    Schedule { warmup_steps: 4, ..Schedule::new(kind, 2.0) }
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
}

#[test]
fn rates_are_those_of_an_independent_computation() {
    for name in ["cosine", "stable", "restarts", "hybrid"] {
        let (schedule, steps, rates) = golden(name);
        schedule.check(steps).unwrap();
        assert!(rates.len() > 10);
        for (step, expected) in rates {
            let found = schedule.rate(step, steps);
            assert!((found - expected).abs() < 1e-9 * schedule.peak, "{name}, step {step}: {found} instead of {expected}");
        }
    }
}

#[test]
fn warms_up_linearly_and_ends_at_the_floor() {
    for (kind, middle) in [(ScheduleKind::Cosine, 1.1), (ScheduleKind::Linear, 1.1), (ScheduleKind::Constant, 2.0)] {
        let s = four(kind);
        near(s.rate(1, 10), 0.5);
        near(s.rate(4, 10), 2.0);
        near(s.rate(7, 10), middle);
        near(s.rate(10, 10), if kind == ScheduleKind::Constant { 2.0 } else { 0.2 });
    }
    // A third of the way, half a cosine stands at three quarters.
    near(four(ScheduleKind::Cosine).rate(6, 10), 2.0 * (0.1 + 0.9 * 0.75));
}

#[test]
fn reset_warms_up_from_the_floor() {
    let s = four(ScheduleKind::Reset);
    near(s.rate(1, 10), 2.0 * (0.1 + 0.9 * 0.25));
    near(s.rate(4, 10), 2.0);
    near(s.rate(10, 10), 0.2);
}

#[test]
fn the_hybrid_curve_is_smooth_where_its_parts_meet() {
    let (s, steps) = (stablelm2(0), 500_000);
    let slope = |step: u64| s.rate(step + 1, steps) - s.rate(step, steps);
    let (before, after) = (slope(134_999), slope(135_000));
    assert!((s.rate(135_000, steps) - 5.5e-4).abs() < 1e-12);
    assert!((before / after - 1.0).abs() < 1e-4, "{before} {after}");
    // The published formula reaches the peak and goes on 0.3 % lower, where the cosine that began at step 0 stands.
    assert!((s.rate(9721, steps) / s.rate(9720, steps) - 0.9971).abs() < 1e-4);
    let cooled = Schedule { cooldown_steps: 80_000, ..stablelm2(0) };
    assert_eq!(cooled.rate(420_000, steps), s.rate(420_000, steps));
    assert!(cooled.rate(420_001, steps) / cooled.rate(420_000, steps) > 1.0 - 2.0 / 80_000.0);
    assert_eq!(cooled.rate(steps, steps), 0.0);
}

#[test]
fn the_published_rate_where_stability_stopped() {
    let formula = stablelm2(0).rate(420_000, 500_000);
    assert!((formula - 2.17e-4).abs() < 5e-7, "{formula}");
}

#[test]
fn a_continuation_follows_the_curve_it_enters() {
    let (whole, part) = (stablelm2(0), stablelm2(420_000));
    for step in [1, 1000, 80_000] {
        assert_eq!(part.rate(step, 80_000), whole.rate(420_000 + step, 500_000));
    }
    // The model card's rate at the start of the cooldown is another than the formula's.
    let card = Schedule { cooldown_steps: 80_000, cooldown_from: Some(2.529e-4), ..stablelm2(420_000) };
    card.check(80_000).unwrap();
    near(card.rate(1, 80_000), 2.529e-4 * 79_999.0 / 80_000.0);
    near(card.rate(40_000, 80_000), 2.529e-4 / 2.0);
    assert_eq!(card.rate(80_000, 80_000), 0.0);
    let floored = Schedule { cooldown_floor: 0.1, ..card };
    near(floored.rate(80_000, 80_000), 1e-4);
}

#[test]
fn a_reset_climbs_from_where_the_rate_stands() {
    let s = Schedule { resets: vec![10, 20], reset_ratio: 0.9, ..four(ScheduleKind::Linear) };
    s.check(30).unwrap();
    for end in [10, 20, 30] {
        near(s.rate(end, 30), 0.2);
    }
    near(s.rate(12, 30), (0.2 + 1.8) / 2.0);
    near(s.rate(14, 30), 1.8);
    near(s.rate(24, 30), 1.8);
    // With the hybrid curve the climb starts in mid-decay.
    let s = Schedule { resets: vec![50], hybrid_steps: 100, ..four(ScheduleKind::Hybrid) };
    s.check(100).unwrap();
    let stands = s.rate(50, 100);
    assert!(stands > 0.3 && stands < 1.1, "{stands}");
    near(s.rate(52, 100), (stands + 2.0) / 2.0);
    near(s.rate(54, 100), 2.0);
    assert!(s.rate(60, 100) < 2.0);
}

/// The whole sentence in which `changed` is refused for a run of 10 steps.
fn refused(changed: Schedule) -> String {
    changed.check(10).unwrap_err().to_string()
}

#[test]
fn refuses_nonsense() {
    let (cosine, constant, hybrid) = (four(ScheduleKind::Cosine), four(ScheduleKind::Constant), four(ScheduleKind::Hybrid));
    assert!(refused(Schedule { peak: f64::NAN, ..cosine.clone() }).contains("schedule.peak"));
    assert!(refused(Schedule { min_ratio: 1.5, ..cosine.clone() }).contains("schedule.min_ratio"));
    assert_eq!(cosine.check(3).unwrap_err().to_string(), "recipe: schedule.warmup_steps is 4, outside 0 to 3 (steps)");
    assert!(refused(Schedule { start_step: 1, ..cosine.clone() }).contains("start_step is of use with kind \"hybrid\" only"));
    assert!(refused(Schedule { cooldown_steps: 2, ..cosine.clone() }).contains("cooldown_steps is of use"));
    assert!(refused(Schedule { cooldown_steps: 11, ..constant.clone() }).contains("0 to 10 (steps)"));
    assert!(refused(Schedule { cooldown_steps: 7, ..constant.clone() }).contains("the warm-up has not ended"));
    assert!(refused(Schedule { cooldown_from: Some(1.0), ..constant.clone() }).contains("need cooldown_steps"));
    assert!(refused(Schedule { cooldown_from: Some(f64::INFINITY), cooldown_steps: 2, ..constant }).contains("cooldown_from is inf"));
    assert!(refused(hybrid.clone()).contains("schedule.hybrid_steps is 0"));
    assert!(refused(Schedule { hybrid_steps: 12, ..hybrid.clone() }).contains("a quarter of hybrid_steps"));
    assert!(refused(Schedule { hybrid_steps: 40, min_ratio: 1.0, ..hybrid }).contains("below 1"));
    assert!(refused(Schedule { resets: vec![0], ..cosine.clone() }).contains("from 1 on"));
    assert!(refused(Schedule { resets: vec![5, 5], ..cosine.clone() }).contains("later than the one before"));
    assert!(refused(Schedule { resets: vec![10], ..cosine.clone() }).contains("outside 1 to 9"));
    assert!(refused(Schedule { resets: vec![5], reset_ratio: 0.1, ..cosine }).contains("0.1 (min_ratio) to 1"));
}

#[test]
fn a_run_whose_length_is_not_known_yet_can_be_checked() {
    let schedule = Schedule { cooldown_steps: 80_000, ..stablelm2(420_000) };
    schedule.check(u64::MAX).unwrap();
}
