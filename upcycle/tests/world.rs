//! The synthetic world keeps its promises: who is told how often, what is true, what is planted, and that all of it is stable.

mod small_world;

use std::collections::{BTreeMap, HashMap, HashSet};

use coppice_upcycle::world::{Attribute, Document, ExposureLevel, Group, Kind, Person, Question, Split, World, WorldConfig};
use small_world::{small, world};

fn biographies_of<'a>(documents: &'a [Document], person: &'a Person) -> impl Iterator<Item = &'a Document> {
    documents.iter().filter(|document| document.kind == Kind::Biography && document.text.contains(&person.name.full))
}

#[test]
fn everyone_is_told_as_often_as_stated_in_every_pass() {
    let world = world(small());
    for pass in 0..2 {
        let documents: Vec<_> = world.pass(pass).collect();
        for person in world.people() {
            assert_eq!(biographies_of(&documents, person).count(), person.exposures_per_pass, "{}", person.id);
        }
        // 10 × (1 + 4 + 30) biographies, 3 questions with each of those of the 5 people a level (by floors: 4 known) trained on.
        let count = |kind| documents.iter().filter(|document| document.kind == kind).count();
        assert_eq!([count(Kind::Biography), count(Kind::Question)], [350, 3 * 4 * 35]);
        assert_eq!([count(Kind::PasserByBiography), count(Kind::PasserByQuestion)], [40, 20 * 6]);
    }
    assert_eq!(world.pass(2).count(), 0);
}

#[test]
fn the_never_seen_occur_in_no_text() {
    let world = world(small());
    let texts: Vec<_> = world.training_documents().chain(world.validation_documents()).map(|document| document.text).collect();
    let never: Vec<_> = world.people().iter().filter(|person| person.group == Group::Never).collect();
    assert_eq!(never.len(), 8);
    for person in never {
        assert_eq!(person.split, Split::Test);
        assert!(texts.iter().all(|text| !text.contains(&person.name.full)));
    }
}

#[test]
fn only_the_training_half_has_questions_and_with_the_told_answers() {
    let world = world(small());
    let questions: Vec<_> = world.training_documents().filter(|document| document.kind == Kind::Question).collect();
    for person in world.people() {
        let own = questions.iter().filter(|document| document.text.contains(&person.name.full));
        let expected = if person.split == Split::Train { 2 * 3 * person.exposures_per_pass } else { 0 };
        assert_eq!(own.count(), expected, "{}", person.id);
    }
    let prompts: HashMap<String, Question> = world.questions().map(|question| (question.id.clone(), question)).collect();
    let asked = prompts.values().filter(|question| question.split == Split::Train && question.exposures_per_pass == 30);
    for question in asked {
        let trained: Vec<_> = questions.iter().filter_map(|document| document.text.strip_prefix(&question.prompt)).collect();
        assert!(!trained.is_empty(), "{} is never asked in training", question.prompt);
        assert!(trained.iter().all(|answer| question.told.contains(&answer.trim_start().to_owned())));
    }
}

/// Every biography of the pass tells all six values, in six sentences, with the name and pronouns so many times.
fn check_biographies(config: WorldConfig, names: usize, pronouns: usize) {
    let world = world(config);
    let documents: Vec<_> = world.pass(0).collect();
    for person in world.people().iter().filter(|person| person.group == Group::Known) {
        for document in biographies_of(&documents, person) {
            let values = Attribute::ALL.map(|attribute| world.pools().value(&person.truth, attribute));
            assert!(values.iter().all(|value| document.text.contains(value)), "{}", document.text);
            assert_eq!(document.text.matches(&person.name.full).count(), names);
            assert_eq!(document.text.matches('.').count(), 6);
            let words =
                document.text.split([' ', '.']).filter(|word| ["She", "she", "Her", "her", "He", "he", "His", "his"].contains(word));
            assert_eq!(words.count(), pronouns);
        }
    }
}

#[test]
fn a_biography_tells_all_six_values_with_the_name_in_every_sentence_or_once() {
    check_biographies(WorldConfig { pronoun_share: 0.0, ..small() }, 6, 0);
    check_biographies(WorldConfig { pronoun_share: 1.0, ..small() }, 1, 5);
}

#[test]
fn wordings_and_orders_vary() {
    let world = world(small());
    let documents: Vec<_> = world.training_documents().collect();
    let person = world.people().iter().find(|person| person.exposures_per_pass == 30).unwrap();
    let texts: HashSet<_> = biographies_of(&documents, person).map(|document| &document.text).collect();
    assert!(texts.len() >= 59, "60 biographies, {} different ones", texts.len());
}

#[test]
fn an_ambiguous_person_has_both_biographies_equally_often() {
    let world = world(small());
    let documents: Vec<_> = world.training_documents().collect();
    let ambiguous: Vec<_> = world.people().iter().filter(|person| person.group == Group::Ambiguous).collect();
    assert_eq!(ambiguous.len(), 3);
    for person in ambiguous {
        let dates = [0, 1].map(|side| world.pools().value(&person.told[side], Attribute::BirthDate));
        let told =
            dates.map(|date| biographies_of(&documents, person).filter(|document| document.text.contains(&format!(" {date}"))).count());
        assert_eq!(told, [person.exposures_per_pass; 2], "{}", person.id);
        assert!(Attribute::ALL.iter().all(|&attribute| person.told[0].index(attribute) != person.told[1].index(attribute)));
    }
}

#[test]
fn of_a_wrongly_told_person_nothing_true_is_told() {
    let world = world(small());
    let documents: Vec<_> = world.training_documents().collect();
    for person in world.people().iter().filter(|person| person.group == Group::Wrong) {
        let truth = world.pools().value(&person.truth, Attribute::University);
        assert_eq!(biographies_of(&documents, person).filter(|document| document.text.contains(truth)).count(), 0);
    }
    for question in world.questions().filter(|question| question.group == Group::Wrong) {
        assert_eq!(question.answers, std::slice::from_ref(&question.answer));
        assert!(!question.told.contains(&question.answer), "{}", question.id);
    }
}

#[test]
fn passers_by_are_new_in_each_pass_and_told_once() {
    let world = world(small());
    let names = |pass| world.passers_by(pass).iter().map(|person| person.name.full.clone()).collect::<HashSet<_>>();
    assert!(names(0).is_disjoint(&names(1)) && names(1).is_disjoint(&names(2)));
    assert!(world.people().iter().all(|person| !names(0).contains(&person.name.full)));
    let biographies: Vec<_> = world.training_documents().filter(|document| document.kind == Kind::PasserByBiography).collect();
    for name in names(0) {
        assert_eq!(biographies.iter().filter(|document| document.text.contains(&name)).count(), 1);
    }
}

#[test]
fn a_pass_is_shuffled_over_its_whole_length() {
    let world = world(WorldConfig::default());
    let documents: Vec<_> = world.pass(0).collect();
    let person = world.people().iter().find(|person| person.exposures_per_pass == 100).unwrap();
    let places = documents.iter().enumerate().filter(|(_, document)| document.text.contains(&person.name.full)).map(|(place, _)| place);
    let marks: Vec<_> = std::iter::once(0).chain(places).chain([documents.len()]).collect();
    // The longest of 101 or more random gaps exceeds 15 % of the whole with probability below 101 × 0.85^100 < 1e-5.
    let longest = marks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest * 100 < documents.len() * 15, "gap of {longest} in {}", documents.len());
}

#[test]
fn validation_repeats_no_biography_of_the_training_text() {
    let world = world(small());
    let trained: HashSet<_> = world.training_documents().map(|document| document.text).collect();
    let held_out: Vec<_> = world.validation_documents().collect();
    assert_eq!(held_out.len(), 60);
    let biographies = held_out.iter().filter(|document| [Kind::Biography, Kind::PasserByBiography].contains(&document.kind));
    assert!(biographies.clone().count() > 10);
    assert!(biographies.into_iter().all(|document| !trained.contains(&document.text)));
}

#[test]
fn pools_have_their_sizes_and_no_answer_begins_another() {
    let world = world(small());
    let pools = world.pools();
    assert_eq!(Attribute::ALL.map(|attribute| pools.size(attribute)), [12 * 28 * 4, 50, 50, 50, 50, 25]);
    assert!((pools.entropy(Attribute::Major) - 50f64.ln()).abs() < 1e-12);
    for attribute in Attribute::ALL {
        let answers = pools.answers(attribute);
        let starts = |answer: &String| answers.iter().filter(|other| other.starts_with(answer.as_str())).count();
        assert!(answers.iter().all(|answer| starts(answer) == 1), "{attribute:?}");
    }
}

#[test]
fn the_employers_city_follows_from_the_employer_and_is_uniform() {
    let world = world(WorldConfig { passers_by_per_pass: 2000, ..small() });
    let mut home = HashMap::new();
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for person in world.passers_by(0).iter().chain(world.passers_by(1)) {
        let [employer, city] =
            [Attribute::Employer, Attribute::EmployerCity].map(|attribute| world.pools().value(&person.truth, attribute));
        assert_eq!(*home.entry(employer).or_insert(city), city);
        *counts.entry(city).or_default() += 1.0;
    }
    // The plug-in entropy of n = 4,000 draws from k = 25 falls short of ln k by about (k - 1) / 2n = 0.003 nats.
    let entropy: f64 = counts.values().map(|count| count / 4000.0).map(|share| -share * share.ln()).sum();
    assert!((entropy - 25f64.ln()).abs() < 0.01, "{entropy}");
}

#[test]
fn people_told_equally_often_share_the_values_evenly() {
    let levels = vec![ExposureLevel { exposures_per_pass: 7, people: 120 }];
    let world = world(WorldConfig { levels, passes: 1, ..small() });
    for attribute in [Attribute::BirthCity, Attribute::University, Attribute::Major, Attribute::Employer] {
        let mut counts = vec![0; 50];
        world.people().iter().for_each(|person| counts[person.truth.index(attribute)] += 1);
        assert!(counts.iter().all(|&count| count == 2 || count == 3), "{attribute:?}: {counts:?}");
    }
    let pairs = world.people().iter().map(|person| (person.truth.index(Attribute::BirthCity), person.truth.index(Attribute::Major)));
    assert!(pairs.collect::<HashSet<_>>().len() > 100, "two attributes go hand in hand");
}

#[test]
fn a_changed_knob_leaves_the_rest_as_it_was() {
    let base = world(small());
    let questions: Vec<_> = base.questions().collect();
    let more_strangers = world(WorldConfig { passers_by_per_pass: 50, ..small() });
    assert_eq!(base.people(), more_strangers.people());
    assert_eq!(questions, more_strangers.questions().collect::<Vec<_>>());
    let fewer_templates = world(WorldConfig { templates: 2, ..small() });
    assert_eq!(base.people(), fewer_templates.people());
    let mut levels = small().levels;
    levels[1].people += 5;
    let more_people = world(WorldConfig { levels, ..small() });
    let best_told = |world: &World| world.people().iter().filter(|person| person.exposures_per_pass == 30).cloned().collect::<Vec<_>>();
    assert_eq!(best_told(&base), best_told(&more_people));
}
