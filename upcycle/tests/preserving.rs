//! What preserves the function at step 0 does, and what claims to is held to it: methods, gates, granularities, scalings, routers.

mod conversions;
mod support;

use conversions::{apart, converted, logits, report};
use coppice_models::Gate;
use coppice_upcycle::convert::options::{RouterInit, Scaling, SharedStart};
use coppice_upcycle::convert::{Options, Sources, forecast};
use coppice_upcycle::methods::{self, Preservation};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::json;
use support::{open, plain, variants};

/// Gates whose weights sum to 1 for every token.
fn sum_to_one() -> impl Iterator<Item = Gate> {
    Gate::ALL.into_iter().filter(|gate| gate.sums_to_one() && !gate.is_expert_choice())
}

const SCALINGS: [Scaling; 4] = [Scaling::Down, Scaling::SqrtUpDown, Scaling::CubeRoot, Scaling::None];

/// Converts the `turn`-th variant and returns the claim and the relative error of the logits.
fn measured(turn: usize, options: &Options) -> (Preservation, f64) {
    let (_, config) = variants().swap_remove(turn % variants().len());
    let (_folder, dense) = open(&config, Dtype::F32);
    let (_root, result) = converted(&dense, options);
    let error = apart(&logits(&dense), &logits(&result));
    let report = report(&dense, &result);
    let claim = methods::find(&options.method).unwrap().preserves(&config, options);
    assert_eq!(report.claim.as_ref(), Some(&claim));
    assert!(claim != Preservation::Exact || report.exact, "{options:?}: {}", report.verdict());
    (claim, error)
}

fn assert_exact(turn: usize, options: &Options) {
    let (claim, error) = measured(turn, options);
    assert_eq!(claim, Preservation::Exact, "{options:?}");
    assert!(error <= 1e-5, "{error} with {options:?}");
}

fn routers(turn: usize) -> (RouterInit, f64) {
    [(RouterInit::Normal, 0.02), (RouterInit::Normal, 1.0), (RouterInit::Zero, 0.02), (RouterInit::Orthogonal, 0.3)][turn % 4]
}

#[test]
fn copies_in_any_order_of_units_are_exact_where_weights_sum_to_one() {
    let mut turn = 0;
    for method in ["copy", "shuffle"] {
        for gate in sum_to_one() {
            for top_k in [1, 2, 5] {
                let (router_init, router_std) = routers(turn);
                assert_exact(
                    turn,
                    &Options { method: method.into(), experts: 5, top_k, gate, router_init, router_std, ..Options::default() },
                );
                turn += 1;
            }
        }
    }
}

#[test]
fn virtual_groups_are_exact_where_whole_groups_are_chosen_and_the_gate_matrix_is_left_alone() {
    let mut turn = 0;
    for gate in sum_to_one() {
        for (groups, parts) in [(3, 2), (4, 4), (2, 3)] {
            for (top_k, scaling) in [(parts, Scaling::Down), (parts, Scaling::SqrtUpDown), (2 * parts, Scaling::Down)] {
                let (router_init, router_std) = routers(turn);
                let options = Options {
                    method: "virtual_group".into(),
                    experts: groups * parts,
                    top_k,
                    granularity: Some(parts),
                    gate,
                    scaling,
                    router_init,
                    router_std,
                    group_selection: turn % 3 == 0,
                    router_bias: turn % 5 == 0,
                    router_logit_norm: (turn % 7 == 0).then_some(1.0),
                    ..Options::default()
                };
                assert_exact(turn, &options);
                turn += 1;
            }
        }
    }
}

#[test]
fn softmax_then_topk_is_exact_with_a_zero_router_alone() {
    for (turn, (groups, parts, top_k)) in [(4, 2, 2), (4, 2, 4), (8, 1, 2), (2, 4, 4), (8, 1, 1)].into_iter().enumerate() {
        let options = Options {
            method: "virtual_group".into(),
            experts: groups * parts,
            top_k,
            granularity: Some(parts),
            gate: Gate::SoftmaxTopk,
            router_init: RouterInit::Zero,
            ..Options::default()
        };
        assert_exact(turn, &options);
        let (claim, error) = measured(turn, &Options { router_init: RouterInit::Normal, router_std: 0.5, ..options });
        assert!(matches!(claim, Preservation::Not(reason) if reason.contains("uniform")));
        assert!(error > 1e-3, "{error}");
    }
}

#[test]
fn a_shared_expert_is_exact_from_zero_by_any_gate_and_with_copies_where_weights_sum_to_one() {
    let (mut turn, method) = (0, || "shared_expert".to_owned());
    for gate in Gate::ALL {
        for shared_gate in [false, true] {
            let parts = [1, 2, 4][turn % 3];
            let zero = Options { method: method(), experts: 4, gate, shared_gate, granularity: Some(parts), ..Options::default() };
            assert_exact(turn, &zero);
            let copies = Options { shared_start: SharedStart::Copies, granularity: None, top_k: 1, ..zero };
            if sum_to_one().any(|known| known == gate) {
                assert_exact(turn, &copies);
            } else {
                let (claim, error) = measured(turn, &copies);
                assert!(claim != Preservation::Exact && error > 1e-5, "{gate:?} {error}");
            }
            turn += 1;
        }
    }
}

#[test]
fn all_experts_for_every_token_are_exact_by_any_gate() {
    for (turn, gate) in Gate::ALL.into_iter().enumerate() {
        assert_exact(turn, &Options { experts: 4, top_k: 4, gate, router_std: 0.3, ..Options::default() });
        let options = Options { method: "virtual_group".into(), experts: 4, top_k: 4, granularity: Some(2), gate, ..Options::default() };
        assert_exact(turn, &options);
    }
}

#[test]
fn what_is_not_exact_says_why_and_is_not() {
    let group = || Options { method: "virtual_group".into(), granularity: Some(4), experts: 8, top_k: 4, ..Options::default() };
    let named = |method: &str| Options { method: method.into(), ..Options::default() };
    let cases = [
        (named("noise"), "noise"),
        (named("drop"), "drawn anew"),
        (Options { scaling: Scaling::CubeRoot, ..group() }, "silu"),
        (Options { scaling: Scaling::None, ..group() }, "4 times too small"),
        (Options { top_k: 2, ..group() }, "misses parts"),
        (Options { gate: Gate::SoftmaxTopk, ..Options::default() }, "less than 1"),
        (Options { gate: Gate::ExpertChoiceRenorm, ..Options::default() }, "no expert takes"),
    ];
    for (turn, (options, part)) in cases.into_iter().enumerate() {
        let (claim, error) = measured(turn, &options);
        assert!(matches!(&claim, Preservation::Not(reason) if reason.contains(part)), "{claim:?}");
        assert!(error > 1e-3, "{error} with {options:?}");
    }
}

#[test]
fn parts_chosen_together_are_grouped_in_the_configuration_too() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let options = Options { method: "virtual_group".into(), granularity: Some(4), top_k: 4, group_selection: true, ..Options::default() };
    let (_root, result) = converted(&dense, &options);
    let moe = result.config.moe.as_ref().unwrap();
    assert_eq!((moe.router_group_size, moe.expert_intermediate_size), (4, 12));
    let record = moe.upcycling.as_ref().unwrap();
    assert_eq!((&record["granularity"], &record["factor"]), (&json!(4), &json!(4.0)));
    assert_eq!((&record["permuted"], &record["scaling"]), (&json!(false), &json!("down")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// No method claims what it does not do, whatever the options.
    #[test]
    fn claims_are_kept(
        variant in 0..5usize,
        method in 0..6usize,
        (groups, parts) in (1..5i64, prop_oneof![Just(1), Just(2), Just(3), Just(4)]),
        top_k in 1..9i64,
        gate in prop::sample::select(&Gate::ALL[..]),
        scaling in prop::sample::select(&SCALINGS[..]),
        router in 0..4usize,
        (ratio, flags) in (prop_oneof![Just(0.0), 0.0..1.0f64], 0..16u32),
        seed: u64,
    ) {
        let method = methods::ALL[method];
        let splits = method.flags().contains(&"granularity");
        let (router_init, router_std) = routers(router);
        let options = Options {
            method: method.name().into(),
            experts: groups * parts,
            top_k,
            granularity: splits.then_some(parts),
            gate,
            scaling,
            router_init,
            router_std,
            ratio,
            group_selection: flags & 1 > 0 && splits,
            shared_gate: flags & 2 > 0 && method.flags().contains(&"shared-gate"),
            shared_start: if flags & 4 > 0 { SharedStart::Copies } else { SharedStart::Zero },
            router_bias: flags & 8 > 0,
            seed,
            ..Options::default()
        };
        let (_folder, dense) = open(&variants()[variant].1, Dtype::F32);
        prop_assume!(forecast(&Sources::one(&dense), &options).is_ok());
        let (claim, error) = measured(variant, &options);
        prop_assert!(claim != Preservation::Exact || error <= 1e-5, "{error} with {options:?}");
    }
}
