//! `pull` and `ls` against a loopback server, and a pulled model by its ID.

use std::process::Command;

use crate::support::hub::{COMMIT, Fault, serve};
use crate::support::{Folder, coppice, done, json_of, refused, stdout};

/// A command that knows the server and keeps its cache in `folder`.
fn client(folder: &Folder, address: &str, arguments: &[&str]) -> Command {
    let mut command = coppice(arguments);
    command.env("HF_ENDPOINT", address).env("HF_HOME", folder.path("hub")).env_remove("HF_HUB_OFFLINE");
    command
}

#[test]
fn a_pulled_model_is_listed_and_runs_by_its_id_offline() {
    let folder = Folder::with_model();
    let address = serve(&folder.path("model"), Fault::None);
    let pulled = json_of(&mut client(&folder, &address, &["pull", "org/tiny", "--json"]));
    assert_eq!(pulled["commit"], COMMIT);
    let told = stdout(&done(&mut client(&folder, &address, &["pull", "org/tiny"])));
    assert_eq!(told.trim_end(), pulled["snapshot"].as_str().unwrap());

    let nobody = "http://127.0.0.1:9";
    let listed = json_of(client(&folder, nobody, &["ls", "--json"]).env("HF_HUB_OFFLINE", "1"));
    assert_eq!(listed["repos"][0]["id"], "org/tiny");
    assert!(stdout(&done(&mut client(&folder, nobody, &["ls"]))).contains("org/tiny"));
    let generate = ["generate", "--model", "org/tiny", "--prompt", "hi", "--max-new-tokens", "1"];
    done(client(&folder, nobody, &generate).env("HF_HUB_OFFLINE", "1"));
}

#[test]
fn a_pull_that_fails_says_why_and_is_not_listed() {
    for (fault, told) in [(Fault::Unauthorized, "HF_TOKEN"), (Fault::Damaged, "damaged")] {
        let folder = Folder::with_model();
        let address = serve(&folder.path("model"), fault);
        let refusal = refused(&mut client(&folder, &address, &["pull", "org/tiny"]));
        assert!(refusal.contains(told), "expected {told} in: {refusal}");
        let generate = ["generate", "--model", "org/tiny", "--prompt", "hi"];
        refused(client(&folder, &address, &generate).env("HF_HUB_OFFLINE", "1"));
    }
}

#[test]
fn offline_a_model_that_was_never_pulled_is_refused() {
    let folder = Folder::new();
    let told = refused(client(&folder, "http://127.0.0.1:9", &["pull", "org/tiny"]).env("HF_HUB_OFFLINE", "1"));
    assert!(told.contains("HF_HUB_OFFLINE") && told.contains("org/tiny"), "{told}");
    assert!(stdout(&done(&mut client(&folder, "http://127.0.0.1:9", &["ls"]))).contains("nothing is pulled yet"));
    let told = refused(&mut client(&folder, "http://127.0.0.1:9", &["pull", "../etc"]));
    assert!(told.contains("../etc"), "{told}");
}
