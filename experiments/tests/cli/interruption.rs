//! Ctrl-C: exit 130, nothing half-written. (`train` and `run` stand with what they resume.)

use crate::support::checkpoint::{SIZES, Sizes};
use crate::support::signals::{signal_when, start};
use crate::support::{Folder, config, coppice, done, stderr, tensors, write_checkpoint};

/// A model large enough that its conversion takes a while: 8.6 MB of MLPs, 550 MB with 64 experts.
fn larger_model(folder: &Folder) {
    let sizes = Sizes { hidden: 256, intermediate: 704, layers: 4, kv: 128, ..SIZES };
    let mut config = config();
    for (key, value) in [("hidden_size", 256), ("intermediate_size", 704), ("num_hidden_layers", 4)] {
        config[key] = value.into();
    }
    write_checkpoint(&folder.path("model"), &config, &tensors(&sizes));
}

#[test]
fn an_interrupted_conversion_leaves_nothing_and_can_be_repeated() {
    let folder = Folder::new();
    larger_model(&folder);
    std::fs::create_dir(folder.path("to")).unwrap();
    let convert = |experts: &str| {
        coppice(["upcycle", "--model", &folder.arg("model"), "--output", &folder.arg("to/moe"), "--experts", experts, "--no-report"])
    };
    let begun = || std::fs::read_dir(folder.path("to")).unwrap().next().is_some();
    let output = signal_when(start(&mut convert("64")), libc::SIGINT, begun);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing was written"), "{}", stderr(&output));
    assert_eq!(crate::support::folder::names(&folder.path("to")), [""; 0]);
    done(&mut convert("2"));
}

#[test]
fn interrupted_scoring_writes_nothing() {
    let folder = Folder::with_model();
    let line = "{\"tokens\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}\n";
    let input = folder.write("in.jsonl", line.repeat(20_000));
    let before = folder.names();
    let mut score = coppice([
        "score",
        "--batch-tokens",
        "20",
        "--model",
        &folder.arg("model"),
        "--input",
        &input,
        "--output",
        &folder.arg("out.jsonl"),
    ]);
    let begin = std::time::Instant::now();
    let output = signal_when(start(&mut score), libc::SIGTERM, || begin.elapsed().as_millis() > 1500);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("interrupted"), "{}", stderr(&output));
    assert_eq!(folder.names(), before);
}
