//! What the tests share: the binary, temporary folders, and tiny checkpoints that no code under test has made.

pub(crate) mod checkpoint;
pub(crate) mod evaluation;
pub(crate) mod folder;
pub(crate) mod hub;
#[path = "../../../../detect/tests/support/openai.rs"]
pub(crate) mod openai;
pub(crate) mod outcome;
pub(crate) mod pickle;
pub(crate) mod recipe;
pub(crate) mod signals;
pub(crate) mod tokenizer;
#[path = "../../../../models/tests/support/weights.rs"]
pub(crate) mod weights;

use std::process::Command;

pub(crate) use checkpoint::{config, tensors, write_checkpoint};
pub(crate) use folder::Folder;
pub(crate) use outcome::{done, json_of, refused, sentence, stderr, stdout};

/// The built binary with `arguments`, on one thread, far from the network and from the user's own cache.
pub(crate) fn coppice<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("coppice"));
    command.args(arguments).env("OMP_NUM_THREADS", "1").env("HF_HUB_OFFLINE", "1").env("HF_HOME", "/nonexistent/hub");
    command.env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE").env_remove("HF_ENDPOINT").env_remove("RUST_BACKTRACE");
    command
}

/// Arguments split at blanks, for commands without blanks in them.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
