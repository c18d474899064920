//! The synthetic world's files, grades and limits.

mod small_world;

use std::collections::HashSet;

use coppice_upcycle::world::{
    Attribute, Document, ExposureLevel, Fact, Grade, Group, Manifest, Pools, Question, World, WorldConfig, grade,
};
use proptest::prelude::*;
use small_world::{small, world};

#[test]
fn the_same_seed_gives_the_same_files_and_another_gives_others() {
    let files = |seed| {
        let folder = tempfile::tempdir().unwrap();
        world(WorldConfig { seed, ..small() }).write(folder.path()).unwrap().files
    };
    assert_eq!(files(3), files(3));
    assert_ne!(files(3)["train.jsonl"], files(4)["train.jsonl"]);
}

#[test]
fn written_files_match_the_manifest_and_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(small());
    let manifest = world.write(folder.path()).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let kept: Manifest = serde_json::from_str(&read("manifest.json")).unwrap();
    assert_eq!((&kept.config, &kept.files), (&manifest.config, &manifest.files));
    assert!((kept.pool_entropies[&Attribute::EmployerCity] - 25f64.ln()).abs() < 1e-12);
    for (name, entry) in &manifest.files {
        assert_eq!(blake3::hash(read(name).as_bytes()).to_hex().as_str(), entry.blake3);
        assert_eq!(read(name).len() as u64, entry.bytes);
    }
    let lines = |name: &str| read(name).lines().map(str::to_owned).collect::<Vec<_>>();
    let train: Vec<Document> = lines("train.jsonl").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(train.is_sorted_by_key(|document| document.pass) && train == world.training_documents().collect::<Vec<_>>());
    let questions: Vec<Question> = lines("questions.jsonl").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let facts: Vec<Fact> = lines("knowledge.jsonl").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([questions.len(), facts.len()], [38 * 6; 2]);
    assert_eq!(&serde_json::from_str::<Pools>(&read("pools.json")).unwrap(), world.pools());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);
}

#[test]
fn grades_are_exact() {
    let world = world(small());
    let pools = world.pools();
    let question =
        |group, attribute| world.questions().find(|question| question.group == group && question.attribute == attribute).unwrap();
    let known = question(Group::Known, Attribute::EmployerCity);
    let other = pools.answers(Attribute::EmployerCity).iter().find(|city| **city != known.answer).unwrap();
    let city_without_employers = &pools.answers(Attribute::BirthCity)[49];
    let cases = [
        (format!(" {}.", known.answer.to_uppercase()), Grade::Correct),
        (format!(" {}<|endoftext|>Question", known.answer), Grade::Correct),
        (format!(" {other}"), Grade::WrongValue),
        (format!(" {city_without_employers}"), Grade::WrongValue),
        (format!(" {}", pools.answers(Attribute::Major)[0]), Grade::WrongType),
        (format!(" {} {other}", known.answer), Grade::WrongType),
        (" . ".to_owned(), Grade::Abstained),
        (" I don't know.".to_owned(), Grade::Abstained),
    ];
    for (text, expected) in cases {
        assert_eq!(grade(&text, &known, pools), expected, "{text:?}");
    }
    let ambiguous = question(Group::Ambiguous, Attribute::Major);
    assert_eq!(ambiguous.answers.len(), 2);
    assert!(ambiguous.answers.iter().all(|answer| grade(answer, &ambiguous, pools) == Grade::Correct));
    let wrong = question(Group::Wrong, Attribute::Major);
    assert_eq!(grade(&wrong.told[0], &wrong, pools), Grade::WrongValue);
}

#[test]
fn a_knob_out_of_its_limits_is_named() {
    let level = |exposures_per_pass| ExposureLevel { exposures_per_pass, people: 1 };
    let mut pools = WorldConfig::default().pools;
    pools.employers = 49;
    let cases = [
        (WorldConfig { passes: 0, ..small() }, "passes = 0"),
        (WorldConfig { templates: 9, ..small() }, "templates = 9"),
        (WorldConfig { questions_per_exposure: 7, ..small() }, "questions_per_exposure = 7"),
        (WorldConfig { wrong_share: f64::NAN, ..small() }, "wrong_share = NaN"),
        (WorldConfig { wrong_share: 0.6, ambiguous_share: 0.6, ..small() }, "ambiguous_share + wrong_share"),
        (WorldConfig { levels: vec![level(0)], ..small() }, "nobody is told"),
        (WorldConfig { levels: vec![level(3), level(3)], ..small() }, "exposures_per_pass = 3 stands twice"),
        (WorldConfig { passers_by_per_pass: usize::MAX, ..small() }, "names are needed"),
        (WorldConfig { pools, ..small() }, "multiple of pools.employer_cities"),
    ];
    for (config, expected) in cases {
        let sentence = World::generate(config).unwrap_err().to_string();
        assert!(sentence.contains(expected), "{sentence}");
    }
    let unknown = serde_json::from_str::<WorldConfig>(r#"{"seed": 1, "pases": 3}"#).unwrap_err();
    assert!(unknown.to_string().contains("pases"));
}

#[test]
fn demanded_bits_follow_the_formula() {
    let world = world(WorldConfig { ambiguous_share: 0.0, wrong_share: 0.0, ..small() });
    // 30 told people; names out of 32 × 8 × 48 × 24; values log2(1344 × 50 × 50 × 50 × 50).
    let names = 30.0 * ((32 * 8 * 48 * 24) as f64 / 30.0).log2();
    let values = 30.0 * (1344.0 * 50.0_f64.powi(4)).log2();
    assert!((world.demanded_bits() - names - values).abs() < 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_configuration_is_refused_or_kept(
        seed in any::<u64>(), passes in 0usize..3, people in proptest::collection::vec((0usize..6, 0usize..12), 0..4),
        shares in (-0.1f64..1.2, 0.0f64..1.1, 0.0f64..0.8, 0.0f64..0.8), passers_by in 0usize..9, forms in (0usize..10, 0usize..6, 0usize..8),
        sizes in (0usize..3, 0usize..9),
    ) {
        let levels = people.into_iter().map(|(exposures_per_pass, people)| ExposureLevel { exposures_per_pass, people }).collect();
        let mut config = WorldConfig { seed, passes, levels, passers_by_per_pass: passers_by, ..WorldConfig::default() };
        (config.question_share, config.passers_by_question_share, config.ambiguous_share, config.wrong_share) = shares;
        (config.templates, config.question_forms, config.questions_per_exposure) = forms;
        (config.pools.birth_years, config.pools.employer_cities) = sizes;
        let Ok(world) = World::generate(config) else { return Ok(()) };
        let names: HashSet<_> = world.people().iter().map(|person| &person.name.full).collect();
        prop_assert_eq!(names.len(), world.people().len());
        prop_assert!(world.training_documents().count() > 0);
        for question in world.questions() {
            prop_assert_eq!(grade(&question.answer, &question, world.pools()), Grade::Correct);
        }
    }
}
