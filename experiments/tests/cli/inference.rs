//! `score`, `generate` and `flops` on a tiny model.

use serde_json::Value;

use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

/// Scores what stands in `in.jsonl` and returns the lines.
fn score(folder: &Folder, content: &str, options: &[&str]) -> Vec<Value> {
    let input = folder.write("in.jsonl", content);
    let (model, output) = (folder.arg("model"), folder.arg("out.jsonl"));
    done(coppice(["score", "--model", &model, "--input", &input, "--output", &output, "--overwrite"]).args(options));
    folder.lines("out.jsonl")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

fn assert_close(left: &Value, right: &Value) {
    let (left, right) = (numbers(left), numbers(right));
    assert_eq!(left.len(), right.len());
    assert!(left.iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-5), "{left:?} {right:?}");
}

#[test]
fn every_token_but_the_first_is_scored() {
    let folder = Folder::with_model();
    let lines = score(&folder, "{\"text\":\"hey\",\"id\":7,\"source\":\"x\"}\n{\"tokens\":[104,101,121]}\n", &[]);
    assert_eq!(lines[0]["id"], 7);
    // One token a byte: h = 104, e = 101, y = 121.
    assert_eq!(lines[0]["tokens"], serde_json::json!([104, 101, 121]));
    for line in &lines {
        assert!(line["token_logprobs"][0].is_null() && line["entropies"][0].is_null());
        assert!(numbers(&line["token_logprobs"]).iter().all(|&logprob| logprob < 0.0));
        assert!(numbers(&line["entropies"]).iter().all(|&entropy| entropy > 0.0 && entropy <= 264_f64.ln()));
        assert_eq!(numbers(&line["token_logprobs"]).len(), 2);
    }
    assert_eq!(lines[0]["token_logprobs"], lines[1]["token_logprobs"]);
    assert!(lines[1].get("id").is_none());
}

#[test]
fn a_padded_batch_scores_as_single_lines_do() {
    let folder = Folder::with_model();
    let content = "{\"text\":\"a\"}\n{\"text\":\"a longer text than the others\"}\n{\"text\":\"middling\"}\n";
    let (together, alone) = (score(&folder, content, &[]), score(&folder, content, &["--batch-tokens", "1"]));
    for (left, right) in together.iter().zip(&alone) {
        assert_close(&left["token_logprobs"], &right["token_logprobs"]);
        assert_close(&left["entropies"], &right["entropies"]);
    }
}

#[test]
fn the_summary_is_one_object_and_follows_from_the_lines() {
    let folder = Folder::with_model();
    let input = folder.write("in.jsonl", "{\"text\":\"some\"}\n{\"text\":\"words\"}\n");
    let arguments = ["score", "--json", "--model", &folder.arg("model"), "--input", &input, "--output", &folder.arg("out.jsonl")];
    let summary = json_of(&mut coppice(arguments));
    let logprobs: Vec<f64> = folder.lines("out.jsonl").iter().flat_map(|line| numbers(&line["token_logprobs"])).collect();
    let mean = -logprobs.iter().sum::<f64>() / logprobs.len() as f64;
    assert_eq!((summary["items"].as_u64(), summary["tokens"].as_u64()), (Some(2), Some(7)));
    assert!((summary["mean_nll"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!((summary["perplexity"].as_f64().unwrap() - mean.exp()).abs() < 1e-9);
}

#[test]
fn texts_of_one_token_have_no_mean() {
    let folder = Folder::with_model();
    let input = folder.write("in.jsonl", "{\"text\":\"a\"}\n");
    let arguments = ["score", "--json", "--model", &folder.arg("model"), "--input", &input, "--output", &folder.arg("out.jsonl")];
    assert!(json_of(&mut coppice(arguments))["perplexity"].is_null());
}

fn generate(folder: &Folder, options: &[&str]) -> Value {
    json_of(coppice(["generate", "--json", "--model", &folder.arg("model"), "--max-new-tokens", "6"]).args(options))
}

#[test]
fn greedy_is_what_score_thinks_of_it() {
    let folder = Folder::with_model();
    let record = generate(&folder, &["--tokens", "1,2,3", "--ignore-eos"]);
    let tokens: Vec<i64> = serde_json::from_value(record["tokens"].clone()).unwrap();
    assert_eq!(tokens.len(), 6);
    let sequence = [vec![1, 2, 3], tokens.clone()].concat();
    let all = serde_json::json!({ "tokens": sequence });
    let scored = score(&folder, &format!("{all}\n"), &[]);
    let tail = |name: &str| Value::from(scored[0][name].as_array().unwrap()[3..].to_vec());
    assert_close(&record["token_logprobs"], &tail("token_logprobs"));
    assert_close(&record["token_entropies"], &tail("entropies"));
    for (place, token) in tokens.iter().enumerate() {
        assert_eq!(record["top_logprobs"][place][0][0].as_i64(), Some(*token), "greedy takes the most probable");
    }
    let again = generate(&folder, &["--tokens", "1,2,3", "--ignore-eos"]);
    assert_eq!(again["tokens"], record["tokens"]);
}

#[test]
fn samples_follow_from_the_seed() {
    let folder = Folder::with_model();
    let sampled = |seed: &str| generate(&folder, &["--prompt", "hello", "--samples", "4", "--seed", seed])["samples"].clone();
    let (first, again, other) = (sampled("1"), sampled("1"), sampled("2"));
    assert_eq!(first.as_array().unwrap().len(), 4);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(first[0]["tokens"], first[1]["tokens"]);
}

#[test]
fn a_stop_string_ends_the_response_and_is_left_out() {
    let folder = Folder::with_model();
    let options = ["--prompt", "x", "--samples", "1", "--temperature", "1", "--seed", "3", "--ignore-eos"];
    let whole = generate(&folder, &options)["response"].as_str().unwrap().to_owned();
    let stop: String = whole.chars().skip(2).take(1).collect();
    let cut = generate(&folder, &[&options[..], &["--stop", &stop]].concat());
    assert_eq!(cut["response"].as_str().unwrap(), whole.split(&stop).next().unwrap());
}

#[test]
fn chat_puts_the_prompt_into_the_template() {
    let folder = Folder::with_model();
    let record = generate(&folder, &["--chat", "--system", "Be brief.", "--prompt", "hi"]);
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(record["prompt"], expected);
}

#[test]
fn text_goes_to_stdout_and_speed_to_stderr() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let output = done(&mut coppice(["generate", "--model", &model, "--prompt", "x", "--max-new-tokens", "3", "--samples", "2"]));
    assert_eq!(stdout(&output).matches("--- sample").count(), 2);
    assert!(stderr(&output).contains("tokens/s"));
    assert!(!stdout(&output).contains("tokens/s"));
}

#[test]
fn a_prompt_in_a_file_is_the_prompt() {
    let folder = Folder::with_model();
    let file = folder.write("prompt.txt", "hello");
    let (from_file, from_words) = (generate(&folder, &["--prompt-file", &file]), generate(&folder, &["--prompt", "hello"]));
    assert_eq!(from_file["tokens"], from_words["tokens"]);
}

/// What scores need that generation does not give.
const ELSEWHERE: [&str; 3] = ["variants", "an entailment model", "fitted parameters"];

/// Every score is there, or lacks one of `parts`.
fn lacks_only(verdict: &serde_json::Value, parts: &[&str]) {
    for (score, lacks) in verdict["missing"].as_object().unwrap() {
        assert!(parts.iter().any(|part| lacks.as_str().unwrap().contains(part)), "{score} lacks {lacks}, which generate gives");
    }
}

#[test]
fn a_record_is_what_detect_reads() {
    let folder = Folder::with_model();
    let record = generate(&folder, &["--prompt", "hello", "--samples", "3"]);
    let input = folder.write("records.jsonl", format!("{record}\n"));
    done(&mut coppice(["detect", "score", "--input", &input, "--output", &folder.arg("verdicts.jsonl")]));
    let verdict = &folder.lines("verdicts.jsonl")[0];
    let found: Vec<&str> =
        ["msp", "perplexity", "mean_token_entropy", "exact_match_rate", "semantic_entropy", "degmat", "selfcheck_ngram_max"].to_vec();
    found.iter().for_each(|score| assert!(verdict["scores"][score].is_number(), "{score}: {verdict}"));
    let traces = ["hidden", "attention", "judged", "unconditional_logprobs", "token_renyi", "token_self_certainties"];
    lacks_only(verdict, &[&traces[..], &ELSEWHERE].concat());
    let traced = generate(&folder, &["--prompt", "hello", "--samples", "3", "--traces", "all"]);
    let input = folder.write("traced.jsonl", format!("{traced}\n"));
    done(&mut coppice(["detect", "score", "--input", &input, "--output", &folder.arg("traced-verdicts.jsonl")]));
    // The fixture is too small a model to be asked what it thinks of its answer.
    lacks_only(&folder.lines("traced-verdicts.jsonl")[0], &[&["judged"], &ELSEWHERE[..]].concat());
    let total: f64 = numbers(&record["token_logprobs"]).iter().sum();
    assert!(
        (verdict["scores"]["msp"].as_f64().unwrap() + total.exp() - 1.0).abs() < 1e-9 || verdict["scores"]["msp"].as_f64() == Some(-total)
    );
}

#[test]
fn expert_choice_is_run_only_where_it_is_allowed() {
    let folder = Folder::with_model();
    let (model, moe) = (folder.arg("model"), folder.arg("moe"));
    let made = ["upcycle", "--model", &model, "--output", &moe, "--experts", "4", "--top-k", "2", "--gate", "expert_choice", "--no-report"];
    done(&mut coppice(made));
    let (input, output) = (folder.write("in.jsonl", "{\"text\":\"hello there\"}\n"), folder.arg("out.jsonl"));
    let generate = ["generate", "--json", "--model", &moe, "--prompt", "hello", "--max-new-tokens", "3"];
    let score = ["score", "--json", "--model", &moe, "--input", &input, "--output", &output];
    for command in [&generate[..], &score[..]] {
        let told = refused(&mut coppice(command));
        assert!(told.contains("not a causal model") && told.contains("--allow-expert-choice"), "{told}");
        assert!(!folder.path("out.jsonl").exists());
        json_of(coppice(command).arg("--allow-expert-choice"));
    }
    assert_eq!(folder.lines("out.jsonl").len(), 1);
}

#[test]
fn flops_count_the_tensors_by_hand() {
    let folder = Folder::with_model();
    let account = json_of(&mut coppice(["flops", "--json", "--model", &folder.arg("model"), "--context", "8"]))["account"].clone();
    // Embedding and head 264 x 32 each; a layer: four norms' vectors, q and o 32 x 32, k and v 16 x 32, biases 32 + 16 + 16, MLP 3 x 48 x 32.
    let layer = 4 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 64 + 3 * 48 * 32;
    assert_eq!(account["parameters"].as_u64(), Some(2 * 264 * 32 + 2 * layer + 2 * 32));
    assert_eq!(account["active_parameters"], account["parameters"]);
    let table = stdout(&done(&mut coppice(["flops", "--model", &folder.arg("model")])));
    assert!(table.contains("parameters") && table.contains("GFLOP") && table.contains("multiply-accumulate"), "{table}");
}

#[test]
fn doctor_prints_one_object() {
    let report = json_of(&mut coppice(["doctor", "--json"]));
    assert!(report.to_string().contains("2.11"), "{report}");
}
