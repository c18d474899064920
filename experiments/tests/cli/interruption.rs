//! Ctrl-C and SIGKILL: exit 130, nothing half-written, and a conversion goes on after its last finished file. (`train` and `run` stand with what they resume.)

use std::path::Path;
use std::process::Command;

use crate::support::checkpoint::{SIZES, Sizes};
use crate::support::folder::names;
use crate::support::signals::{signal_when, start};
use crate::support::{Folder, config, coppice, done, refused, stderr, tensors, write_checkpoint};

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
    assert_eq!(names(&folder.path("to")), [""; 0]);
    done(&mut convert("2"));
}

/// The conversion of [`larger_model`] to many files; the report is left out.
fn sharded(folder: &Folder, output: &str, options: &[&str]) -> Command {
    let (model, output) = (folder.arg("model"), folder.arg(output));
    let fixed = ["--experts", "24", "--no-report", "--max-shard-bytes", "20000000"];
    let mut command = coppice(["upcycle", "--model", &model, "--output", &output]);
    command.args(fixed).args(options);
    command
}

/// Files that a conversion to `to/moe` has finished.
fn finished(folder: &Folder) -> usize {
    std::fs::read_to_string(folder.path("to/.moe.partial/unfinished.json")).map_or(0, |record| record.matches(".safetensors").count())
}

/// Files and their bytes.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    names(folder).into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

#[test]
fn an_interrupted_conversion_of_many_files_says_how_to_go_on_and_does() {
    let folder = Folder::new();
    larger_model(&folder);
    std::fs::create_dir(folder.path("to")).unwrap();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let before = finished(&folder);
        let output = signal_when(start(&mut sharded(&folder, "to/moe", &["--resume"])), signal, || finished(&folder) > before);
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(stderr(&output).contains("are finished and kept, --resume goes on"), "{}", stderr(&output));
        assert_eq!(names(&folder.path("to")), [".moe.partial"]);
    }
    done(&mut sharded(&folder, "to/moe", &["--resume"]));
    done(&mut sharded(&folder, "undisturbed", &["--jobs", "1"]));
    assert!(content(&folder.path("to/moe")) == content(&folder.path("undisturbed")));
    assert_eq!(names(&folder.path("to")), ["moe"]);
}

#[test]
fn a_killed_conversion_goes_on_to_the_bytes_of_an_undisturbed_one() {
    let folder = Folder::new();
    larger_model(&folder);
    std::fs::create_dir(folder.path("to")).unwrap();
    for _ in 0..2 {
        let before = finished(&folder);
        signal_when(start(&mut sharded(&folder, "to/moe", &["--resume"])), libc::SIGKILL, || finished(&folder) > before);
        assert_eq!(names(&folder.path("to")), [".moe.partial"]);
    }
    let told = refused(&mut sharded(&folder, "to/moe", &["--resume", "--seed", "5"]));
    assert!(told.contains("was begun from another source, with other options"), "{told}");
    done(&mut sharded(&folder, "to/moe", &["--resume"]));
    done(&mut sharded(&folder, "undisturbed", &["--jobs", "3"]));
    assert!(content(&folder.path("to/moe")) == content(&folder.path("undisturbed")));
    assert_eq!(names(&folder.path("to")), ["moe"]);
}

#[test]
fn what_was_left_is_begun_anew_without_resume_and_one_process_at_a_time() {
    let folder = Folder::new();
    larger_model(&folder);
    std::fs::create_dir(folder.path("to")).unwrap();
    let mut first = start(&mut sharded(&folder, "to/moe", &["--seed", "1"]));
    while finished(&folder) == 0 {
        assert!(first.try_wait().unwrap().is_none(), "it ended before its first file was seen");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // SAFETY: the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(first.id() as i32, libc::SIGSTOP) };
    let told = refused(&mut sharded(&folder, "to/moe", &[]));
    // SAFETY: as above.
    unsafe { libc::kill(first.id() as i32, libc::SIGKILL) };
    first.wait().unwrap();
    assert!(told.contains("is being written by another process"), "{told}");
    let output = done(&mut sharded(&folder, "to/moe", &[]));
    assert!(stderr(&output).contains("is what a stopped conversion left, it is begun anew"), "{}", stderr(&output));
    assert_eq!(names(&folder.path("to")), ["moe"]);
    assert!(!folder.path("to/moe/unfinished.json").exists());
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
