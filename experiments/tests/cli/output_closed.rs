//! A reader of stdout that goes away is no fault of ours; a stdout that is full is.

use std::fs::OpenOptions;
use std::process::Stdio;

use crate::support::{Folder, coppice, stderr, words};

#[test]
fn a_closed_pipe_exits_0_in_silence() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    for line in ["detect list", "detect list --json", &format!("flops --model {model}"), &format!("generate --model {model} --tokens 1")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = coppice(words(line)).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        assert!(!stderr(&output).contains("anic") && !stderr(&output).contains("pipe"), "{line}: {}", stderr(&output));
    }
}

#[test]
fn a_full_stdout_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = coppice(words("detect list")).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
}
