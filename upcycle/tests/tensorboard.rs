//! Event files: the writer's records against those of torch.utils.tensorboard (`tests/golden/make_events.py`), read back by a small reader
//! of the record framing and of protobuf's wire format.

use std::collections::BTreeMap;

use coppice_upcycle::train::losses::Evaluation;
use coppice_upcycle::train::metrics::{ExpertLoad, StepMetrics, ValidationMetrics};
use coppice_upcycle::train::tensorboard::{EventFile, Histogram, Value, What};

/// A field of a message as it stands: by its number, all that was given.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Number(u64),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
}

type Message = BTreeMap<u64, Vec<Field>>;

/// The data of every record, whose checksums must hold.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let (head, data) = (&bytes[..8], &bytes[12..12 + length]);
        for (data, at) in [(head, 8), (data, 12 + length)] {
            let stored = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(stored, crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8));
        }
        all.push(data.to_vec());
        bytes = &bytes[16 + length..];
    }
    all
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    *bytes = &bytes[length..];
    value
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn message(mut bytes: &[u8]) -> Message {
    let mut fields = Message::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Double(f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            5 => Field::Float(f32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap())),
            2 => {
                let length = varint(&mut bytes) as usize;
                Field::Bytes(take(&mut bytes, length).to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(key >> 3).or_default().push(field);
    }
    fields
}

/// The messages of a file without their times and without the name of who wrote them.
fn events(bytes: &[u8]) -> Vec<Message> {
    let mut all: Vec<Message> = records(bytes).iter().map(|record| message(record)).collect();
    for event in &mut all {
        assert!(matches!(event.remove(&1).unwrap()[..], [Field::Double(time)] if time > 1.6e9));
        event.remove(&10);
        // A step of zero may be left out.
        event.entry(2).or_insert_with(|| vec![Field::Number(0)]);
    }
    all
}

fn inner(message_of: &Message, field: u64) -> Message {
    let Field::Bytes(bytes) = &message_of[&field][0] else { panic!("{message_of:?}") };
    message(bytes)
}

fn step(text: &str) -> StepMetrics {
    serde_json::from_str(&format!(r#"{{"tokens":8,"loss":1.5,"lr":0.1,"grad_norm":2.0,"tokens_per_second":100.0{text}}}"#)).unwrap()
}

fn written(folder: &std::path::Path, file: &EventFile) -> Vec<Message> {
    assert_eq!(file.path().parent().unwrap(), folder);
    events(&std::fs::read(file.path()).unwrap())
}

#[test]
fn records_are_those_of_torch() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = EventFile::create(folder.path(), 7).unwrap();
    let histogram = Histogram::of_experts(&[0.75, 0.0, 0.25]);
    let histogram = Value::Histogram { tag: "expert_load/layer_03".into(), histogram };
    for (step, value) in [(7, Value::scalar("train/loss", 1.5)), (300, Value::scalar("train/learning_rate", 0.1)), (300, histogram)] {
        file.write(step, What::Summary(vec![value])).unwrap();
    }
    let (ours, mut theirs) = (written(folder.path(), &file), events(include_bytes!("golden/events.tfevents")));
    // With a purge step, torch writes the version twice.
    let again = theirs.remove(1);
    assert_eq!((again.get(&3), &again[&2]), (theirs[0].get(&3), &vec![Field::Number(7)]));
    assert_eq!(ours.len(), 5);
    assert_eq!(ours, theirs);
}

#[test]
fn a_step_tells_all_that_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = EventFile::create(folder.path(), 1).unwrap();
    let load = ExpertLoad { similarity: Some(0.5), ..ExpertLoad::new(3, &[6, 0, 2]).unwrap() };
    file.write_step(&StepMetrics { expert_load: Some(vec![load]), ..step(r#","step":1,"balance":1.25,"mfu":0.5"#) }).unwrap();
    let evaluation = Evaluation { loss: 1.0, perplexity: 2.5, tokens: 9 };
    file.write_validation(&ValidationMetrics { step: 1, validation: evaluation }).unwrap();
    let events = written(folder.path(), &file);
    let tags = |event: &Message| -> Vec<String> {
        let values = inner(event, 5).remove(&1).unwrap();
        let tag = |value: Field| match value {
            Field::Bytes(bytes) => match &message(&bytes)[&1][0] {
                Field::Bytes(tag) => String::from_utf8(tag.clone()).unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        values.into_iter().map(tag).collect()
    };
    let train = ["loss", "learning_rate", "gradient_norm", "tokens_per_second", "mfu"].map(|name| format!("train/{name}"));
    let layer = ["load_entropy", "dead", "drop_rate", "similarity", "load"].map(|name| format!("expert_{name}/layer_03"));
    assert_eq!(tags(&events[2]), [&train[..], &["router/balance_loss".into()], &layer].concat());
    assert_eq!(tags(&events[3]), ["validation/loss", "validation/perplexity"]);
}

#[test]
fn every_process_has_a_file_that_begins_with_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("tensorboard");
    for first in [1, 5] {
        let mut file = EventFile::create(&inside, first).unwrap();
        file.write_step(&step(&format!(r#","step":{first}"#))).unwrap();
        let start = &written(&inside, &file)[1];
        assert_eq!((&start[&2], inner(start, 7)), (&vec![Field::Number(first)], BTreeMap::from([(1, vec![Field::Number(1)])])));
    }
    assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 2);
}

/// Not a test of its own: leaves a run that was resumed at step 3 where the variable says, for `make_events.py check`.
#[test]
fn leaves_files_for_tensorboard_when_told_where() {
    let Ok(folder) = std::env::var("COPPICE_TEST_EVENTS") else { return };
    for (first, loss) in [(1, 1.0), (3, 2.0)] {
        let mut file = EventFile::create(folder.as_ref(), first).unwrap();
        for number in first..first + 4 {
            let expert_load = Some(vec![ExpertLoad::new(3, &[6, 0, 2]).unwrap()]);
            file.write_step(&StepMetrics { step: number, loss, expert_load, ..step(r#","step":0"#) }).unwrap();
        }
    }
}
