//! The benchmark's comparisons: with the best score and the length, over groups, over several inputs, with learned scores.

use coppice_detect::bench::{Bench, BenchError, BenchSettings, bench, bench_with, mean_ranks};
use coppice_detect::fitted::Fitted;
use coppice_detect::metrics;
use coppice_detect::record::Attention;
use coppice_detect::scores::Training;
use coppice_detect::{Record, Sample, Setup};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// Responses of two tokens. The entropy knows best whether they are wrong, the probability less; every person has `copies` equal records.
fn world(persons: usize, copies: usize, seed: u64) -> Vec<Record> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut record = move |person: usize| {
        let label = u8::from(rng.random::<f64>() < 0.4);
        let (near, far) = (f64::from(label) + rng.random::<f64>() * 1.5, f64::from(label) + rng.random::<f64>() * 4.0);
        let sample = Sample { text: "x".into(), tokens: Some(vec![1, 2, 3]), ..Sample::default() };
        Record {
            tokens: Some(vec![0; 1 + person % 5]),
            token_entropies: Some(vec![near; 1 + person % 5]),
            token_logprobs: Some(vec![-far; 1 + person % 5]),
            samples: vec![sample; 4],
            attention: Some(Attention { lookback: vec![near, far], ..Attention::default() }),
            label: Some(label),
            source: Some(json!({ "person": person })),
            ..Record::default()
        }
    };
    let people: Vec<Record> = (0..persons).map(&mut record).collect();
    let copied = people.iter().flat_map(|record| std::iter::repeat_n(record.clone(), copies));
    copied.enumerate().map(|(i, record)| Record { id: format!("r{i}"), ..record }).collect()
}

fn settings(names: &[&str]) -> BenchSettings {
    BenchSettings { scores: Some(names.iter().map(|&name| name.into()).collect()), resamples: 400, ..BenchSettings::default() }
}

fn names() -> BenchSettings {
    settings(&["perplexity", "mean_token_entropy", "max_token_entropy"])
}

#[test]
fn every_score_is_compared_with_the_best_and_the_length() {
    let records = world(150, 1, 1);
    let found = bench(&records, &names()).expect("labelled");
    let [perplexity, best, _, length] = found.rows.as_slice() else { panic!("four rows") };
    let to_best = perplexity.to_best.as_ref().expect("not the best itself");
    assert_eq!(
        (to_best.with.as_str(), to_best.n, best.to_best.is_none(), length.to_length.is_none()),
        ("mean_token_entropy", 150, true, true)
    );
    // Against the test called directly; the other two differences are the length's, which is smaller still, and none at all.
    let column = |of: fn(&Record) -> f64| records.iter().map(of).collect::<Vec<f64>>();
    let wrong: Vec<bool> = records.iter().map(|record| record.label == Some(1)).collect();
    let (far, near) = (column(|r| -r.token_logprobs.as_ref().expect("set")[0]), column(|r| r.token_entropies.as_ref().expect("set")[0]));
    let expected = metrics::delong_test(&far, &near, &wrong).expect("both classes");
    assert!((to_best.difference - expected.difference).abs() < 1e-12 && (to_best.p_value - expected.p_value).abs() < 1e-9);
    assert!(to_best.p_adjusted >= to_best.p_value && to_best.p_adjusted <= 3.0 * to_best.p_value + 1e-15);
    assert!((perplexity.auroc.estimate - best.auroc.estimate - to_best.difference).abs() < 1e-12);
    assert!(best.to_length.as_ref().expect("not the length").p_adjusted < 1e-6);
    assert!(perplexity.auroc_delong.is_some_and(|interval| interval.low < perplexity.auroc.estimate));
}

#[test]
fn copies_of_a_record_make_nothing_surer_when_they_are_grouped() {
    let (once, copied) = (world(100, 1, 2), world(100, 6, 2));
    let width = |found: &Bench| found.rows[0].auroc.high - found.rows[0].auroc.low;
    let error = |found: &Bench| found.rows[0].to_best.as_ref().expect("not the best").std_error;
    let grouped = BenchSettings { group_by: Some("person".into()), ..names() };
    let [plain, by_group, naive] =
        [(&once, &names()), (&copied, &grouped), (&copied, &names())].map(|(r, s)| bench(r, s).expect("labelled"));
    assert_eq!((by_group.groups, naive.groups), (Some(100), None));
    assert!((width(&by_group) / width(&plain) - 1.0).abs() < 0.2 && width(&naive) < 0.6 * width(&plain));
    assert!((error(&by_group) / error(&plain) - 1.0).abs() < 0.2 && error(&naive) < 0.6 * error(&plain));
    let absent = BenchSettings { group_by: Some("town".into()), ..names() };
    assert_eq!(bench(&once, &absent), Err(BenchError::NoGroup { id: "r0".into(), field: "town".into() }));
}

#[test]
fn costs_are_told_in_tokens_and_on_demand_in_time() {
    let records = world(40, 1, 3);
    let found = bench(&records, &settings(&["msp", "exact_match_rate"])).expect("labelled");
    assert_eq!(found.rows.iter().map(|row| row.extra_tokens).collect::<Vec<_>>(), [Some(0.0), Some(12.0), Some(0.0)]);
    assert!(found.rows.iter().all(|row| row.microseconds.is_none()));
    let timed = bench(&records, &BenchSettings { timed: true, ..settings(&["msp"]) }).expect("labelled");
    assert!(timed.rows.iter().all(|row| row.microseconds.is_some_and(|time| time > 0.0)));
}

#[test]
fn a_learned_score_is_judged_only_on_what_it_has_not_seen() {
    let records = world(60, 1, 4);
    let plain = Setup::default();
    let training = Training::new(records[..40].iter().collect(), &plain);
    let fit = Fitted::fit(&["lookback_ratio".to_owned()], &training, 0).expect("a learned score");
    let setup = Setup { fitted: fit.fitted, ..Setup::default() };
    let found = bench_with(&records, &settings(&["lookback_ratio"]), &setup).expect("labelled");
    assert_eq!((found.rows[0].n, found.rows[0].lacks["a fit that has not seen them"]), (20, 40));
}

#[test]
fn ranks_are_averaged_over_inputs() {
    let benches = [1, 2, 3].map(|seed| bench(&world(150, 1, seed), &names()).expect("labelled"));
    let ranks = mean_ranks(&benches.iter().collect::<Vec<_>>());
    // Both entropies are equal here and share the first two ranks; the length has no ties with anything.
    let found: Vec<(&str, f64)> = ranks.iter().map(|rank| (rank.score.as_str(), rank.mean_rank)).collect();
    assert_eq!(found, [("max_token_entropy", 1.5), ("mean_token_entropy", 1.5), ("perplexity", 3.0), ("length", 4.0)]);
    assert_eq!(ranks[2].auroc, benches.each_ref().map(|bench| bench.rows[0].auroc.estimate));
    assert!(mean_ranks(&[]).is_empty());
}
