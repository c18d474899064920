//! Variants of prompts: distinct, reproducible, and still the same question.

use std::collections::HashSet;

use coppice_detect::contrast::{find, registry, variants};
use proptest::prelude::*;

const PROMPT: &str = "Question: In 1990, where was the cup won?\nA) Rome\nB) Oslo\nC) Bonn\nAnswer:";

#[test]
fn every_kind_makes_distinct_variants_that_keep_the_labels() {
    for kind in registry() {
        let found = variants(PROMPT, &[*kind], 3, 7);
        let distinct: HashSet<(&str, u64)> =
            found.iter().map(|variant| (variant.prompt.as_str(), variant.temperature.unwrap_or(0.0).to_bits())).collect();
        assert_eq!((found.len(), distinct.len()), (3, 3), "{}", kind.name());
        for variant in &found {
            assert_eq!(variant.kind.as_deref(), Some(kind.name()));
            assert!(variant.samples.is_empty() && variant.prompt.starts_with("Question: ") && variant.prompt.ends_with("\nAnswer:"));
            assert_eq!(variant.prompt == PROMPT, variant.temperature.is_some(), "{}", kind.name());
            assert!(["A) Rome", "B) Oslo", "C) Bonn"].iter().all(|option| variant.prompt.contains(option)));
        }
    }
}

#[test]
fn the_seed_decides_and_other_kinds_do_not() {
    let (all, alone) = (variants(PROMPT, registry(), 2, 1), variants(PROMPT, &[find("persona").expect("registered")], 2, 1));
    assert!(alone.iter().all(|variant| all.contains(variant)));
    assert_eq!(all, variants(PROMPT, registry(), 2, 1));
    assert!((2..20).any(|seed| variants(PROMPT, registry(), 2, seed) != all));
}

#[test]
fn the_ladder_is_even() {
    let rungs = |count| {
        variants("Why?", &[find("temperature").expect("registered")], count, 0).into_iter().filter_map(|variant| variant.temperature)
    };
    assert_eq!(rungs(6).collect::<Vec<_>>(), [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]);
    assert_eq!(rungs(1).collect::<Vec<_>>(), [1.0]);
}

#[test]
fn an_unknown_kind_gets_the_list() {
    let error = find("tone").map(|kind| kind.name()).expect_err("unknown");
    assert_eq!(error.to_string(), "unknown variation `tone`; there are paraphrase, order, irrelevant, language, persona, temperature");
}

#[test]
fn a_variant_is_read_back_as_it_was_written() {
    let all = variants(PROMPT, registry(), 2, 1);
    let line = serde_json::to_string(&all).expect("plain data");
    assert_eq!(serde_json::from_str::<Vec<coppice_detect::Variant>>(&line).expect("variants"), all);
}

proptest! {
    #[test]
    fn any_prompt_can_be_varied(prompt in "\\PC{0,40}(\n\\PC{0,10}){0,3}", count in 0usize..5, seed in any::<u64>()) {
        for variant in variants(&prompt, registry(), count, seed) {
            prop_assert!(variant.temperature.is_some() || variant.prompt != prompt);
        }
    }
}
