//! What calibration promises, in simulation; what a calibrator does, from labelled scores to a verdict.

use coppice_detect::calibration::{Calibration, Calibrator, Candidate, Method, Settings, Threshold, calibrate};
use coppice_detect::guarantee::{Control, candidates, conformal_quantile, control_risk, selective_risk};
use coppice_detect::metrics::{Groups, auroc};
use coppice_detect::{Decision, Verdict};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const SPLITS: u32 = 2000;

/// Four standard errors of a share over [`SPLITS`] splits.
fn four_errors(share: f64) -> f64 {
    4.0 * (share * (1.0 - share) / f64::from(SPLITS)).sqrt()
}

/// Values, and whether they fail: the more often the higher, with probability value².
fn drawn(n: usize, rng: &mut ChaCha8Rng) -> (Vec<f64>, Vec<bool>) {
    let mut pair = || (rng.random::<f64>(), rng.random::<f64>());
    (0..n).map(|_| pair()).map(|(value, luck)| (value, luck < value * value)).unzip()
}

#[test]
fn conformal_coverage_is_what_it_says_over_exchangeable_splits() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut pool: Vec<f64> = (0..400).map(|_| rng.random::<f64>()).collect();
    for (n, alpha) in [(99, 0.1), (57, 0.2)] {
        let mut covered = 0;
        for _ in 0..SPLITS {
            pool.shuffle(&mut rng);
            let threshold = conformal_quantile(&pool[1..=n], alpha).expect("valid").expect("n is large enough");
            covered += u32::from(pool[0] <= threshold);
        }
        let (coverage, exact) = (f64::from(covered) / f64::from(SPLITS), ((n + 1) as f64 * (1.0 - alpha)).ceil() / (n + 1) as f64);
        assert!((coverage - exact).abs() < four_errors(exact), "{coverage}, expected {exact}");
    }
}

#[test]
fn controlled_risk_is_at_most_alpha_over_exchangeable_splits_and_near_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (values, failed) = drawn(400, &mut rng);
    let mut pool: Vec<(f64, bool)> = values.into_iter().zip(failed).collect();
    let (n, alpha) = (199, 0.1);
    let mut lost = 0;
    for _ in 0..SPLITS {
        pool.shuffle(&mut rng);
        let (values, failed): (Vec<f64>, Vec<bool>) = pool[1..=n].iter().copied().unzip();
        let set = control_risk(&values, &failed, alpha, 1.0).expect("valid").expect("n is large enough");
        lost += u32::from(pool[0].0 <= set.threshold && pool[0].1);
    }
    // Without ties the expectation is ⌊α(n + 1)⌋ / (n + 1), here α, unless all may pass.
    let risk = f64::from(lost) / f64::from(SPLITS);
    assert!((risk - alpha).abs() < four_errors(alpha), "{risk}");
}

#[test]
fn selective_risk_exceeds_alpha_in_at_most_delta_of_all_draws() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (alpha, confidence, n) = (0.1, 0.9, 300);
    let (mut broken, mut accepted) = (0, 0.0);
    for _ in 0..SPLITS {
        let (others, others_failed) = drawn(200, &mut rng);
        let thresholds = candidates(&others, &others_failed, n, alpha, confidence).expect("valid");
        let (values, failed) = drawn(n, &mut rng);
        if let Some(set) = selective_risk(&values, &failed, &thresholds, alpha, confidence).expect("valid").pop() {
            // Among values uniform up to t, which fail with probability value², a share t²/3 fails.
            broken += u32::from(set.threshold * set.threshold / 3.0 > alpha);
            accepted += set.threshold / f64::from(SPLITS);
        }
    }
    let share = f64::from(broken) / f64::from(SPLITS);
    assert!(share <= 0.1 + four_errors(0.1), "{share}");
    // With all the knowledge there is one could accept √0.3.
    assert!(share > 0.0 && accepted > 0.65 * 0.3f64.sqrt(), "{accepted} accepted, {share} broken");
}

/// Five hundred people, six questions each; the score tells, its shadow tells less, noise nothing. People differ.
fn people() -> (Vec<Candidate>, Vec<bool>, Groups) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let known: Vec<f64> = (0..500).map(|_| rng.random()).collect();
    let suspicion: Vec<f64> = (0..3000).map(|i| (known[i / 6] + rng.random::<f64>()) / 2.0).collect();
    let wrong = suspicion.iter().map(|&p| rng.random::<f64>() < p.powi(3)).collect();
    let mut candidate = |score: &str, noise: f64| Candidate {
        score: score.into(),
        values: suspicion.iter().map(|p| Some(3.0 * p + noise * rng.random::<f64>())).collect(),
    };
    (vec![candidate("noise", 100.0), candidate("msp", 0.0), candidate("shadow", 2.0)], wrong, Groups::new((0..3000).map(|i| i / 6)))
}

#[test]
fn the_better_score_is_chosen_and_its_probabilities_hold_on_others() {
    let (scores, wrong, groups) = people();
    let found = calibrate(&scores, &wrong, &groups, &Settings::default()).expect("two classes");
    let calibrator = found.calibrator;
    assert_eq!((calibrator.score.as_str(), found.fitted_on), ("msp", 1500));
    let temperatures: Vec<_> = found.trials.iter().filter(|trial| trial.method == Method::Temperature).collect();
    assert!(temperatures.len() == 3 && temperatures.iter().all(|trial| trial.brier.is_none() && trial.failure.is_some()));
    let judged = calibrator.judged.as_ref().expect("filled in");
    assert_eq!((judged.n, judged.groups, judged.missing), (1500, 250, 0));
    let intervals = [judged.ece, judged.brier, judged.auroc.expect("two classes")];
    assert!(intervals.iter().all(|interval| interval.low <= interval.estimate && interval.estimate <= interval.high));
    assert!(judged.ece.estimate < 0.05, "{:?}", judged.ece);
    let counts = [judged.accepted, judged.reviewed, judged.flagged].map(|share| share.responses);
    assert_eq!(counts.iter().sum::<usize>(), 1500);
    let Some(Threshold { guarantee: Some(accept), .. }) = calibrator.thresholds.accept else {
        panic!("a third is never wrong: {calibrator:?}")
    };
    assert!(accept.n == 250 && accept.bound <= 0.1 && counts[0] > 300, "{accept:?}, {counts:?}");
    let same = calibrate(&scores, &wrong, &groups, &Settings::default()).expect("two classes");
    assert_eq!(same.calibrator, calibrator, "one seed, one calibrator");
}

#[test]
fn a_score_that_knows_nothing_leaves_everything_to_review() {
    let (scores, wrong, groups) = people();
    let found = calibrate(&scores[..1], &wrong, &groups, &Settings::default()).expect("two classes");
    assert_eq!((found.calibrator.thresholds.accept, found.calibrator.thresholds.flag), (None, None));
    let judged = found.calibrator.judged.expect("filled in");
    assert_eq!((judged.reviewed.responses, judged.accepted.responses), (1500, 0));
}

#[test]
fn the_joint_risk_accepts_more_than_the_selective_one() {
    let (scores, wrong, groups) = people();
    let settings = Settings { control: Control::JointRisk, flag: Some(0.99), ..Settings::default() };
    let joint = calibrate(&scores, &wrong, &groups, &settings).expect("two classes").calibrator.thresholds;
    let selective = calibrate(&scores, &wrong, &groups, &Settings::default()).expect("two classes").calibrator.thresholds;
    assert!(joint.accept.map(|t| t.probability) > selective.accept.map(|t| t.probability), "{joint:?} {selective:?}");
    assert_eq!(joint.flag, Some(Threshold { probability: 0.99, guarantee: None }));
}

#[test]
fn of_two_joint_risks_the_accepted_set_comes_first() {
    let (scores, wrong, groups) = people();
    let settings = Settings { control: Control::JointRisk, alpha: 0.15, ..Settings::default() };
    let found = calibrate(&scores, &wrong, &groups, &settings).expect("two classes").calibrator.thresholds;
    let (accept, flag) = (found.accept.expect("may pass"), found.flag.expect("may pass"));
    assert!(accept.probability < flag.probability && flag.probability <= accept.probability.next_up(), "{found:?}");
}

#[test]
fn responses_without_the_score_are_counted_and_left_out() {
    let (mut scores, wrong, groups) = people();
    scores[1].values.iter_mut().step_by(10).for_each(|value| *value = None);
    let found = calibrate(&scores[1..2], &wrong, &groups, &Settings::default()).expect("two classes");
    let judged = found.calibrator.judged.expect("filled in");
    assert_eq!((judged.n + judged.missing, found.fitted_on + judged.n), (1500, 2700));
}

#[test]
fn what_cannot_be_calibrated_is_told() {
    let (scores, wrong, groups) = people();
    let told = |scores: &[Candidate], wrong: &[bool], settings: &Settings| {
        calibrate(scores, wrong, &Groups::single(wrong.len()), settings).expect_err("impossible").to_string()
    };
    let one = |values: Vec<Option<f64>>| [Candidate { score: "msp".into(), values }];
    assert!(told(&scores, &wrong, &Settings { split: 1.0, ..Settings::default() }).contains("split is 1"));
    assert!(told(&scores, &wrong, &Settings { alpha: 0.0, ..Settings::default() }).contains("alpha is 0"));
    assert!(told(&one(vec![Some(1.0)]), &wrong, &Settings::default()).contains("1 scores but 3000 labels"));
    assert!(told(&one(vec![Some(1.0); 40]), &[true; 40], &Settings::default()).contains("responses are wrong"));
    assert!(told(&one(vec![None; 3000]), &wrong, &Settings::default()).contains("no items"));
    assert!(told(&[], &wrong, &Settings::default()).contains("no score to choose from"));
    assert!(told(&one(vec![]), &[], &Settings::default()).contains("no items"));
    assert!(calibrate(&scores, &wrong, &groups, &Settings { flag: Some(0.0), ..Settings::default() }).is_err(), "flags what is accepted");
}

#[test]
fn a_verdict_says_what_it_rests_on() {
    let (scores, wrong, groups) = people();
    let calibrator = calibrate(&scores, &wrong, &groups, &Settings::default()).expect("two classes").calibrator;
    let read = Calibrator::from_json(&serde_json::to_string(&calibrator).expect("plain data")).expect("its own file");
    let verdict = |value: f64| Verdict { scores: BTreeMap::from([("msp".to_owned(), value)]), ..Verdict::default() }.decide(&read);
    let accepted = verdict(0.3);
    assert_eq!(accepted.verdict, Decision::Accept);
    let promise = "of the responses accepted, at most 10.0 % are wrong, with confidence 90 %";
    assert!(accepted.evidence[1].contains(promise) && accepted.evidence.len() == 2, "{:?}", accepted.evidence);
    let strange = verdict(-7.0);
    assert!(strange.evidence.iter().any(|line| line.contains("-7.0000, outside of the calibration range")), "{:?}", strange.evidence);
}

proptest! {
    /// Rising methods leave the order of scores as it is, up to ties; all give probabilities.
    #[test]
    fn calibration_keeps_order_and_stays_within_0_and_1(items in prop::collection::vec((0.0f64..=1.0, any::<bool>()), 2..60), query in any::<f64>()) {
        let (scores, wrong): (Vec<f64>, Vec<bool>) = items.into_iter().unzip();
        for method in Method::ALL {
            let Ok(fitted) = Calibration::fit(method, &scores, &wrong) else { continue };
            let probabilities: Vec<f64> = scores.iter().map(|&score| fitted.probability(score)).collect();
            prop_assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
            prop_assert!(!query.is_finite() || (0.0..=1.0).contains(&fitted.probability(query)));
            if matches!(method, Method::Isotonic | Method::CentredIsotonic | Method::Temperature) {
                let mut order: Vec<usize> = (0..scores.len()).collect();
                order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
                prop_assert!(order.windows(2).all(|pair| probabilities[pair[0]] <= probabilities[pair[1]]));
            }
        }
    }

    /// A rising curve without flat stretches leaves AUROC exactly.
    #[test]
    fn platt_scaling_leaves_auroc(items in prop::collection::vec((0u32..50, any::<bool>()), 10..60)) {
        let (scores, wrong): (Vec<f64>, Vec<bool>) = items.into_iter().map(|(score, wrong)| (f64::from(score), wrong)).unzip();
        let Ok(Calibration::Platt(fitted)) = Calibration::fit(Method::Platt, &scores, &wrong) else { return Ok(()) };
        prop_assume!(fitted.slope > 1e-6);
        let probabilities: Vec<f64> = scores.iter().map(|&score| fitted.probability(score)).collect();
        prop_assert_eq!(auroc(&probabilities, &wrong), auroc(&scores, &wrong));
    }
}
