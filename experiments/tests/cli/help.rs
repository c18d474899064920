//! `--help` of every command works, and clap's own refusals keep the house's exit code.

use crate::support::outcome::ended;
use crate::support::{coppice, done, stderr, stdout, words};

const COMMANDS: [&str; 24] = [
    "",
    "doctor",
    "pull",
    "ls",
    "score",
    "generate",
    "eval",
    "flops",
    "energy",
    "upcycle",
    "train",
    "inspect",
    "merge-experts",
    "data",
    "data synth",
    "detect score",
    "detect bench",
    "detect list",
    "detect calibrate",
    "detect data",
    "detect collect",
    "detect judge",
    "run",
    "report",
];

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let text = stdout(&done(coppice(words(command)).arg("--help")));
        assert!(text.contains("Usage: coppice"), "{command}: {text}");
        let undocumented = text.lines().filter(|line| line.trim_start().starts_with("--")).find(|line| line.split_whitespace().count() < 2);
        assert_eq!(undocumented, None, "{command}");
    }
}

#[test]
fn the_top_lists_every_command_with_a_sentence() {
    let text = stdout(&done(&mut coppice(["--help"])));
    for command in COMMANDS.iter().filter(|command| !command.is_empty() && !command.contains(' ')) {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{command} ")));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 2), "{command}: {text}");
    }
}

#[test]
fn every_choice_in_the_help_of_upcycle_is_taken() {
    let folder = crate::support::Folder::with_model();
    let model = folder.arg("model");
    for gate in coppice_models::Gate::ALL.map(coppice_models::Gate::name) {
        done(coppice(["upcycle", "--model", &model, "--output", &folder.arg("out"), "--dry-run"]).args(["--gate", gate]));
    }
    for layers in ["all", "alternate", "first:1", "last:1", "0,1"] {
        done(coppice(["upcycle", "--model", &model, "--output", &folder.arg("out"), "--dry-run"]).args(["--layers", layers]));
    }
    assert_eq!(folder.names(), ["model"]);
}

#[test]
fn every_name_of_a_precision_is_taken() {
    let folder = crate::support::Folder::with_model();
    for dtype in ["f32", "fp32", "float32", "bf16", "bfloat16"] {
        let model = folder.arg("model");
        done(&mut coppice(["generate", "--model", &model, "--tokens", "1", "--max-new-tokens", "1", "--dtype", dtype]));
    }
}

#[test]
fn usage_errors_exit_2_and_say_what_to_do() {
    for line in
        ["", "frobnicate", "score", "upcycle --gate nonsense --model a --output b", "generate --model x", "flops --model x --batch y"]
    {
        let output = ended(&mut coppice(words(line)), 2);
        assert_eq!(stdout(&output), "", "{line}");
        assert!(stderr(&output).contains("--help"), "{line}: {}", stderr(&output));
    }
}
