//! `inspect`: the report of a routed model, its files, and what is refused.

use serde_json::Value;

use crate::support::{Folder, coppice, done, json_of, recipe, refused, stdout};

const LAW: &str = "{\"text\":\"the party of the first part shall pay the party of the second part\",\"domain\":\"law\"}\n";
const CODE: &str = "{\"text\":\"for i in range(10): print(i)  # for i in range\",\"domain\":\"code\"}\n";

/// A folder with a dense model and copies of it in `moe/`.
fn with_experts() -> Folder {
    let folder = Folder::with_model();
    upcycle(&folder, "moe", "4");
    folder
}

fn upcycle(folder: &Folder, name: &str, experts: &str) {
    let arguments = ["upcycle", "--no-report", "--model", &folder.arg("model"), "--output", &folder.arg(name), "--experts", experts];
    done(&mut coppice(arguments));
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

#[test]
fn the_report_has_every_measure() {
    let folder = with_experts();
    let input = folder.write("in.jsonl", [LAW, CODE].concat());
    let (moe, dense) = (folder.arg("moe"), folder.arg("model"));
    let told = json_of(&mut coppice(["inspect", "--json", "--model", &moe, "--input", &input, "--reference", &moe, "--dense", &dense]));
    assert_eq!((told["experts"].as_u64(), told["experts_per_token"].as_u64(), told["arm"].as_str()), (Some(4), Some(2), Some("moe")));
    let layer = &told["layers"][0];
    assert!((numbers(&layer["load"]).iter().sum::<f64>() - 1.0).abs() < 1e-12, "{layer}");
    assert_eq!(layer["saturation"], 1.0);
    assert!(numbers(&layer["parent_similarity"]).iter().all(|cosine| (cosine - 1.0).abs() < 1e-12));
    let domains: Vec<&str> = layer["domains"].as_array().unwrap().iter().filter_map(|domain| domain["domain"].as_str()).collect();
    assert_eq!(domains, ["law", "code"]);
    assert!((numbers(&layer["domains"][0]["share"]).iter().sum::<f64>() - 2.0).abs() < 1e-12);
}

#[test]
fn the_table_and_the_page_are_readable() {
    let folder = with_experts();
    let (a, b) = (folder.write("law.txt", "the party of the first part"), folder.write("code.txt", "for i in range(10)"));
    let metrics =
        folder.write("metrics.jsonl", "{\"step\":1,\"loss\":2.0,\"balance\":1.5,\"expert_load\":[{\"layer\":0,\"share\":[1.0,0.0]}]}\n");
    let text = stdout(&done(&mut coppice([
        "inspect",
        "--model",
        &folder.arg("moe"),
        "--text",
        &a,
        &b,
        "--metrics",
        &metrics,
        "--output",
        &folder.arg("out"),
    ])));
    assert!(text.contains("law.txt, code.txt") && text.contains("4 experts a layer") && text.contains("similarity"), "{text}");
    let report: Value = serde_json::from_str(&folder.read("out/inspect.json")).unwrap();
    assert_eq!(report["layers"][1]["domains"][1]["domain"], "code");
    assert_eq!(report["over_training"][0]["points"][0]["dead"], 1);
    assert!(folder.read("out/index.html").contains("<html"));
    let again = refused(&mut coppice(["inspect", "--model", &folder.arg("moe"), "--text", &a, "--output", &folder.arg("out")]));
    assert!(again.contains("--overwrite"), "{again}");
}

#[test]
fn tokens_are_cut_off_evenly_over_the_files() {
    let folder = with_experts();
    let (a, b) = (folder.write("a.txt", "a".repeat(50)), folder.write("b.txt", "b".repeat(50)));
    let arguments = ["inspect", "--json", "--max-tokens", "21", "--model", &folder.arg("moe"), "--text", &a, &b];
    let told = json_of(&mut coppice(arguments));
    let tokens: Vec<u64> = told["layers"][0]["domains"].as_array().unwrap().iter().filter_map(|d| d["tokens"].as_u64()).collect();
    assert_eq!((told["tokens"].as_u64(), tokens), (Some(21), vec![10, 11]));
}

#[test]
fn what_cannot_be_inspected_is_refused_in_one_sentence() {
    let folder = with_experts();
    upcycle(&folder, "other", "2");
    let (text, moe) = (folder.write("a.txt", "some text"), folder.arg("moe"));
    let empty = folder.write("empty.txt", "");
    let blank = folder.write("blank.jsonl", "{\"text\":\"\"}\n");
    let typed = folder.write("typed.jsonl", "{\"text\":\"a\",\"domain\":7}\n");
    let before = folder.names();
    let told = |options: &[&str]| refused(coppice(["inspect", "--output", &folder.arg("out")]).args(options));
    assert!(told(&["--model", &folder.arg("model"), "--text", &text]).contains("the model is dense"));
    assert!(told(&["--model", &moe, "--text", &empty]).contains("empty.txt"));
    assert!(told(&["--model", &moe, "--text", &text, "--max-tokens", "0"]).contains("no token"));
    assert!(told(&["--model", &moe, "--input", &blank]).contains("blank.jsonl, line 1"));
    assert!(told(&["--model", &moe, "--input", &typed]).contains("domain is 7"));
    assert!(told(&["--model", &moe, "--text", &text, "--reference", &folder.arg("other")]).contains("num_experts 2, the model 4"));
    assert!(told(&["--model", &moe, "--text", &text, "--reference", &folder.arg("model")]).contains("reference is dense"));
    assert!(told(&["--model", &moe, "--text", &text, "--dense", &moe]).contains("routed itself"));
    assert!(told(&["--model", &moe, "--text", &text, "--metrics", &text]).contains("a.txt, line 1"));
    assert_eq!(folder.names(), before);
}

#[test]
fn a_trained_mixture_is_held_against_where_it_came_from() {
    let folder = with_experts();
    let recipe = recipe::write(&folder, "steps = 6\nschedule = { kind = \"constant\", peak = 1e-2 }\nlog = { expert_load_every = 2 }");
    let text = folder
        .read("recipe.toml")
        .replace(&format!("config = \"{}/config.json\"", folder.arg("model")), &format!("checkpoint = \"{}\"", folder.arg("moe")));
    folder.write("recipe.toml", text.replace("seed = 3\n", ""));
    done(&mut coppice(["train", &recipe, "--output", &folder.arg("run")]));
    let (trained, moe, dense) = (folder.arg("run/model"), folder.arg("moe"), folder.arg("model"));
    let input = folder.arg("train.jsonl");
    let arguments =
        ["inspect", "--json", "--model", &trained, "--text", &input, "--reference", &moe, "--dense", &dense, "--max-tokens", "600"];
    let told = json_of(coppice(arguments).args(["--metrics", &folder.arg("run/metrics.jsonl")]));
    for layer in told["layers"].as_array().unwrap() {
        let apart = numbers(&layer["parent_similarity"]);
        assert!(apart.iter().all(|cosine| (0.5..0.9999).contains(cosine)), "training moves every expert: {layer}");
        assert!((0.0..1.0).contains(&layer["saturation"].as_f64().unwrap()), "{layer}");
    }
    let points = told["over_training"][0]["points"].as_array().unwrap();
    assert!(points.len() >= 3 && points.iter().all(|point| point["balance"].is_f64() && point["load_entropy"].is_f64()), "{points:?}");
    assert!(points.last().unwrap()["similarity"].is_f64());
    done(&mut coppice(["merge-experts", "--model", &trained, "--output", &folder.arg("merged")]));
    done(&mut coppice(["generate", "--model", &folder.arg("merged"), "--prompt", "Document", "--max-new-tokens", "3"]));
}
