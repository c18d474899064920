//! `upcycle` with every method, gate and router initialisation, and what it says to options and files that do not fit.

use serde_json::{Value, json};

use crate::support::{Folder, coppice, json_of, refused, stderr, stdout};

const PROMPTS: &str = r#"{"experts": [{"positive_prompts": ["sums and products", "1 + 1"]},
    {"positive_prompts": ["once upon a time"], "negative_prompts": ["a proof"]}]}"#;

fn arguments(folder: &Folder) -> Vec<String> {
    vec!["upcycle".into(), "--model".into(), folder.arg("model"), "--output".into(), folder.arg("moe")]
}

fn upcycle(folder: &Folder, options: &[&str]) -> Value {
    json_of(coppice(arguments(folder)).args(["--json", "--overwrite"]).args(options))
}

/// The one sentence of a refusal, which writes nothing.
fn refusal(folder: &Folder, options: &[&str]) -> String {
    let before = folder.names();
    let told = refused(coppice(arguments(folder)).args(options));
    assert_eq!(folder.names(), before, "{options:?}");
    told
}

fn assert_refused(folder: &Folder, options: &[&str], parts: &[&str]) {
    let told = refusal(folder, options);
    assert!(parts.iter().all(|part| told.contains(part)), "expected {parts:?} in: {told}");
}

#[test]
fn every_method_converts_and_the_report_repeats_its_claim() {
    let folder = Folder::with_model();
    let branch = folder.arg("model");
    for (options, exact) in [
        (vec!["--method", "shuffle"], true),
        (vec!["--method", "noise", "--ratio", "0.25", "--noise-std", "0.1"], false),
        (vec!["--method", "drop", "--drop-indices", "per_matrix"], false),
        (vec!["--method", "virtual_group", "--granularity", "4", "--top-k", "4", "--group-selection"], true),
        (vec!["--method", "virtual_group", "--granularity", "4", "--top-k", "4", "--scaling", "cube_root"], false),
        (vec!["--method", "shared_expert", "--shared-gate", "--granularity", "2"], true),
        (vec!["--method", "shared_expert", "--shared-start", "copies"], true),
        (vec!["--gate", "sigmoid_topk_renorm", "--router-bias", "--router-logit-norm", "1.5"], true),
    ] {
        let told = upcycle(&folder, &options);
        assert_eq!(told["step0"]["exact"], exact, "{options:?}: {told}");
        assert_eq!(told["step0"]["claim"] == "exact", exact, "{options:?}: {told}");
    }
    // A branch equal to the model: the mean is the model, so the claim of difference is only a claim.
    let told = upcycle(&folder, &["--method", "branch_train_mix", "--branch", &branch, "--branch", &branch, "--trunk", "average"]);
    assert_eq!((&told["manifest"]["options"]["experts"], &told["step0"]["exact"]), (&json!(3), &json!(true)), "{told}");
    let told = upcycle(&folder, &["--method", "branch_train_mix", "--branch", &branch, "--experts", "4", "--trunk", "first"]);
    assert_eq!(told["manifest"]["options"]["experts"], 4);
}

#[test]
fn routers_start_from_prompts_and_from_text() {
    let folder = Folder::with_model();
    let toml = "[[experts]]\npositive_prompts = [\"sums\"]\n[[experts]]\npositive_prompts = [\"tales\"]\nnegative_prompts = [\"sums\"]\n";
    let files = [folder.write("prompts.json", PROMPTS), folder.write("prompts.toml", toml)];
    for init in ["hidden", "hidden_avg", "cheap_embed"] {
        for file in &files {
            let told = upcycle(&folder, &["--experts", "2", "--router-init", init, "--router-prompts", file, "--router-scale", "2"]);
            assert_eq!(told["step0"]["exact"], true, "{told}");
        }
    }
    let text = folder.write("text.txt", "The quick brown fox jumps over the lazy dog, and the dog sleeps on.");
    let told = upcycle(&folder, &["--router-init", "kmeans", "--router-text", &text, "--router-text-tokens", "40"]);
    let note = told["manifest"]["made"]["model.layers.0.mlp.gate.weight"].as_str().unwrap();
    assert!(note.contains("clusters of 40 tokens"), "{note}");
    for init in ["orthogonal", "zero", "normal"] {
        assert_eq!(upcycle(&folder, &["--router-init", init])["step0"]["exact"], true);
    }
}

#[test]
fn files_of_prompts_and_text_that_cannot_be_used_are_refused() {
    let folder = Folder::with_model();
    let prompts = |content: &str| {
        let file = folder.write("prompts.json", content);
        refusal(&folder, &["--experts", "2", "--router-init", "hidden", "--router-prompts", &file])
    };
    for (content, part) in [
        ("{\"experts\": []}", "prompts.json: the list of experts is empty"),
        ("{\"experts\": [{\"positive_prompts\": [\"a\"]}]}", "needs the prompts of 2 experts"),
        ("{\"experts\": [{\"positive_prompts\": [\"a\"]}, {\"positive_prompts\": []}]}", "expert 1 has no positive prompts"),
        ("{\"experts\": [{\"positive_prompts\": [\"\"]}, {\"positive_prompts\": [\"a\"]}]}", "a prompt of expert 0 is empty"),
        ("{\"experts\": [{\"positive\": [\"a\"]}]}", "unknown field `positive`"),
        ("{\"experts\"", "prompts.json: not a file of prompts"),
        ("", "prompts.json: not a file of prompts"),
    ] {
        let told = prompts(content);
        assert!(told.contains(part), "expected {part} in: {told}");
    }
    let long = format!("{{\"experts\": [{{\"positive_prompts\": [\"{}\"]}}, {{\"positive_prompts\": [\"a\"]}}]}}", "a".repeat(65));
    assert!(prompts(&long).contains("a prompt of expert 0 has 65 tokens, the context holds 64"));
    let absent = folder.arg("absent.json");
    assert_refused(&folder, &["--router-init", "hidden", "--router-prompts", &absent], &["cannot read", "absent.json"]);
    let toml = folder.write("prompts.toml", "[[experts]]\npositive = 3\n");
    assert_refused(&folder, &["--router-init", "hidden", "--router-prompts", &toml], &["prompts.toml", "line 2", "positive_prompts"]);
    assert_refused(&folder, &["--router-init", "kmeans", "--router-text", &absent], &["cannot read", "absent.json"]);
    let short = folder.write("short.txt", "abc");
    assert_refused(&folder, &["--router-init", "kmeans", "--router-text", &short], &["3 tokens", "8 rows"]);
    let empty = folder.write("empty.txt", "");
    assert_refused(&folder, &["--router-init", "kmeans", "--router-text", &empty], &["none is given"]);
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let prompts = folder.write("prompts.json", PROMPTS);
    for (options, parts) in [
        (vec!["--ratio", "0.5"], vec!["--ratio", "method copy", "noise, drop"]),
        (vec!["--method", "noise", "--drop-indices", "shared"], vec!["--drop-indices", "method noise", "drop"]),
        (vec!["--method", "drop", "--ratio", "2"], vec!["ratio is 2"]),
        (vec!["--method", "noise", "--noise-std", "inf"], vec!["noise std is inf"]),
        (vec!["--method", "shuffle", "--granularity", "2"], vec!["--granularity", "virtual_group, shared_expert"]),
        (vec!["--method", "virtual_group", "--granularity", "5"], vec!["granularity 5", "48"]),
        (vec!["--method", "virtual_group", "--granularity", "3"], vec!["experts 8", "granularity 3"]),
        (vec!["--method", "virtual_group", "--granularity", "4", "--group-selection"], vec!["top-k 2", "granularity 4"]),
        (vec!["--method", "shared_expert", "--shared-start", "copies", "--granularity", "2"], vec!["granularity 2", "full width"]),
        (vec!["--shared-gate"], vec!["--shared-gate", "shared_expert"]),
        (vec!["--branch", &model], vec!["--branch", "branch_train_mix"]),
        (vec!["--method", "branch_train_mix"], vec!["no branch is given"]),
        (vec!["--method", "branch_train_mix", "--branch", &model, "--experts", "3"], vec!["experts 3", "2 checkpoints"]),
        (vec!["--method", "branch_train_mix", "--branch", "/nonexistent/branch"], vec!["/nonexistent/branch"]),
        (vec!["--gate", "expert_choice", "--router-bias"], vec!["router bias", "expert_choice"]),
        (vec!["--router-logit-norm", "0"], vec!["router logit norm is 0"]),
        (vec!["--router-init", "zero", "--router-std", "1"], vec!["--router-std", "normal, orthogonal"]),
        (vec!["--router-init", "hidden"], vec!["--router-prompts"]),
        (vec!["--router-init", "kmeans"], vec!["--router-text"]),
        (vec!["--router-prompts", &prompts], vec!["--router-prompts", "hidden, hidden_avg, cheap_embed"]),
    ] {
        assert_refused(&folder, &options, &parts);
    }
}

#[test]
fn names_that_are_none_are_refused_with_the_nearest() {
    let folder = Folder::with_model();
    for (flag, name, nearest) in
        [("--drop-indices", "both", "per_matrix"), ("--scaling", "sqrt", "sqrt_up_down"), ("--router-init", "hiden", "hidden")]
    {
        let output = coppice(arguments(&folder)).args([flag, name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(nearest), "{}", stderr(&output));
    }
    assert_eq!(folder.names(), ["model"]);
}

#[test]
fn branches_of_another_shape_are_refused() {
    let folder = Folder::with_model();
    let config: Value = serde_json::from_str(&folder.read("model/config.json")).unwrap();
    std::fs::create_dir(folder.path("other")).unwrap();
    std::fs::copy(folder.path("model/model.safetensors"), folder.path("other/model.safetensors")).unwrap();
    let mut other = config;
    other["rope_theta"] = json!(5000.0);
    folder.write("other/config.json", other.to_string());
    assert_refused(&folder, &["--method", "branch_train_mix", "--branch", &folder.arg("other")], &["other", "another shape"]);
}

#[test]
fn the_help_lists_every_method_gate_and_router_init_with_its_options() {
    let text = stdout(&crate::support::done(&mut coppice(["upcycle", "--help"])));
    for part in
        ["branch_train_mix", "virtual_group", "sigmoid_topk_renorm", "expert_choice_renorm", "cheap_embed", "kmeans", "--drop-indices"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}
