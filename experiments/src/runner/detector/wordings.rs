//! The test questions in several wordings, and the answers to each wording as variants of the others.

use coppice_detect::{Record, Sample, Variant};
use coppice_upcycle::world::{Question, Split, World};

/// Answers to another wording that a variant keeps, the most probable one among them.
const KEPT: usize = 3;

/// Every test question in up to `wordings` wordings, those of a question next to each other; the wording's number ends the id.
pub fn questions(world: &World, wordings: usize) -> Vec<Question> {
    let test = world.questions().filter(|question| question.split == Split::Test);
    test.flat_map(|question| worded(&question, wordings)).collect()
}

fn worded(question: &Question, wordings: usize) -> Vec<Question> {
    let prompts: Vec<&String> = std::iter::once(&question.prompt).chain(&question.variants).take(wordings).collect();
    let others = |own: usize| prompts.iter().enumerate().filter(move |&(place, _)| place != own).map(|(_, &prompt)| prompt.clone());
    let question = |(place, &prompt): (usize, &&String)| Question {
        id: format!("{}-{place}", question.id),
        prompt: prompt.clone(),
        variants: others(place).collect(),
        ..question.clone()
    };
    prompts.iter().enumerate().map(question).collect()
}

/// Gives each record the answers to the other wordings of its question; `questions` and `records` go together.
pub fn cross(questions: &[Question], records: &mut [Record]) {
    let mut from = 0;
    for group in questions.chunk_by(|a, b| (&a.person, a.attribute) == (&b.person, b.attribute)) {
        let of_group = &mut records[from..from + group.len()];
        let variants: Vec<Variant> = of_group.iter().map(variant).collect();
        for (place, record) in of_group.iter_mut().enumerate() {
            record.variants =
                variants.iter().enumerate().filter(|&(other, _)| other != place).map(|(_, variant)| variant.clone()).collect();
        }
        from += group.len();
    }
}

fn variant(record: &Record) -> Variant {
    let answers = std::iter::once(&record.response).chain(record.samples.iter().map(|sample| &sample.text));
    let samples = answers.take(KEPT).map(|text| Sample { text: text.clone(), ..Sample::default() }).collect();
    Variant { prompt: record.prompt.clone(), samples, ..Variant::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coppice_upcycle::world::{ExposureLevel, WorldConfig};

    fn asked() -> Vec<Question> {
        let levels = vec![ExposureLevel { exposures_per_pass: 0, people: 2 }, ExposureLevel { exposures_per_pass: 1, people: 4 }];
        let world = World::generate(WorldConfig { levels, passes: 1, passers_by_per_pass: 0, ..WorldConfig::default() }).unwrap();
        questions(&world, 3)
    }

    #[test]
    fn each_question_is_asked_in_every_wording_under_its_own_id() {
        let asked = asked();
        assert!(asked[0].prompt != asked[1].prompt && asked[0].answer == asked[1].answer && asked[1].id.ends_with("-1"));
        assert_eq!(asked[0].variants, [asked[1].prompt.clone(), asked[2].prompt.clone()]);
        assert_eq!(asked.iter().map(|question| &question.id).collect::<std::collections::BTreeSet<_>>().len(), asked.len());
    }

    #[test]
    fn a_record_gets_the_answers_to_the_other_wordings_alone() {
        let asked = asked();
        let record = |question: &Question| Record { prompt: question.prompt.clone(), response: question.id.clone(), ..Record::default() };
        let mut records: Vec<Record> = asked.iter().map(record).collect();
        cross(&asked, &mut records);
        let told = |record: &Record| record.variants.iter().map(|variant| variant.samples[0].text.clone()).collect::<Vec<_>>();
        assert_eq!(told(&records[4]), [asked[3].id.clone(), asked[5].id.clone()]);
    }
}
