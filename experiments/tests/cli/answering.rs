//! Records with traces: `generate --traces`.

use serde_json::{Value, json};

use crate::support::checkpoint::{SIZES, tensors, write_tensors};
use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

/// A tiny model with room for questions about its answers.
fn folder() -> Folder {
    let folder = Folder::with_model();
    let mut config: Value = serde_json::from_str(&folder.read("model/config.json")).unwrap();
    config["max_position_embeddings"] = json!(1024);
    folder.write("model/config.json", config.to_string());
    folder
}

fn generate(folder: &Folder, options: &[&str]) -> Value {
    json_of(coppice(["generate", "--json", "--model", &folder.arg("model"), "--max-new-tokens", "5"]).args(options))
}

/// Log-probabilities that `coppice score` gives the last `count` tokens of each sequence.
fn scored(folder: &Folder, sequences: &[Vec<i64>], count: usize) -> Vec<Vec<f64>> {
    let lines: Vec<String> = sequences.iter().map(|tokens| json!({ "tokens": tokens }).to_string()).collect();
    let (model, input, output) = (folder.arg("model"), folder.write("in.jsonl", lines.join("\n")), folder.arg("out.jsonl"));
    done(&mut coppice(["score", "--model", &model, "--input", &input, "--output", &output, "--overwrite"]));
    let tail = |line: Value| numbers(&line["token_logprobs"]).into_iter().rev().take(count).rev().collect();
    folder.lines("out.jsonl").into_iter().map(tail).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().filter_map(Value::as_i64).collect()
}

/// The tokenizer has one token a byte.
fn bytes(text: &str) -> Vec<i64> {
    text.bytes().map(i64::from).collect()
}

#[track_caller]
fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} is not {expected:?}");
}

#[test]
fn nothing_is_left_unasked_and_all_of_it_when_asked() {
    let folder = folder();
    let options = ["--prompt", "hello", "--samples", "3", "--ignore-eos"];
    let (bare, all) = (generate(&folder, &options), generate(&folder, &[&options[..], &["--traces", "all"]].concat()));
    let left = ["attention", "hidden", "token_self_certainties", "token_renyi", "unconditional_logprobs", "judged"];
    for name in left {
        assert!(bare.get(name).is_none() && all.get(name).is_some(), "{name}");
    }
    assert_eq!((&bare["tokens"], &bare["samples"][2]["tokens"]), (&all["tokens"], &all["samples"][2]["tokens"]));
    // Two layers of four heads: RAUQ looks at both.
    let lengths = ["rauq", "score", "lookback"].map(|name| numbers(&all["attention"][name]).len());
    assert_eq!(lengths, [2, 2, 8]);
    for answer in [&all, &all["samples"][0], &all["samples"][2]] {
        assert_eq!((answer["hidden"].as_array().unwrap().len(), answer["hidden"][0]["layer"].as_u64()), (1, Some(1)));
        let vectors = ["mean", "last", "before_last", "prompt"].map(|name| numbers(&answer["hidden"][0][name]).len());
        assert_eq!(vectors, [32; 4]);
    }
}

#[test]
fn texts_of_tokens_and_alternatives_are_always_there() {
    let record = generate(&folder(), &["--prompt", "hello", "--samples", "2", "--ignore-eos", "--top-logprobs", "3"]);
    let (texts, top) = (record["token_texts"].as_array().unwrap(), record["top_texts"].as_array().unwrap());
    assert_eq!((texts.len(), top.len(), top[0].as_array().unwrap().len()), (5, 5, 3));
    assert_eq!(record["samples"][0]["token_texts"].as_array().unwrap().len(), 5);
    for (place, alternatives) in record["top_logprobs"].as_array().unwrap().iter().enumerate() {
        if let Some(letter) = alternatives[0][0].as_u64().and_then(|id| u8::try_from(id).ok()).filter(u8::is_ascii) {
            assert_eq!(top[place][0], char::from(letter).to_string());
        }
    }
}

#[test]
fn an_answer_without_its_prompt_is_scored_after_the_beginning_of_a_text() {
    let folder = folder();
    let record = generate(&folder, &["--prompt", "hello", "--ignore-eos", "--traces", "unconditional"]);
    let alone = [vec![256], integers(&record["tokens"])].concat();
    near(&numbers(&record["unconditional_logprobs"]), &scored(&folder, &[alone], 5)[0]);
}

#[test]
fn the_model_judges_its_answer_as_its_own_probabilities_say() {
    let folder = folder();
    let record = generate(&folder, &["--prompt", "Who?", "--samples", "2", "--ignore-eos", "--traces", "judged"]);
    let answer = record["response"].as_str().unwrap();
    let samples: Vec<&str> = record["samples"].as_array().unwrap().iter().map(|sample| sample["text"].as_str().unwrap()).collect();
    let choice = "Is the possible answer:\n (A) True\n (B) False\n The possible answer is:";
    let plain = format!("Question: Who?\n Possible answer:{answer}\n {choice}");
    let ideas = samples.join(", ");
    let beside = format!("Question: Who?\n Here are some ideas that were brainstormed: {ideas}\n Possible answer:{answer}\n {choice}");
    for (name, prompt) in [("p_true", plain), ("p_true_sampling", beside)] {
        let words = ["True", " True"].map(|word| bytes(&format!("{prompt}{word}")));
        let (bare, spaced) = (scored(&folder, &words[..1], 4).remove(0), scored(&folder, &words[1..], 5).remove(0));
        let expected = bare.iter().sum::<f64>().exp() + spaced.iter().sum::<f64>().exp();
        let found = record["judged"][name].as_f64().unwrap();
        assert!((found.ln() - expected.ln()).abs() < 1e-4, "{name}: {found} is not {expected}");
    }
}

/// A model that says one letter whatever it is told: its final norm gives the same state for everything.
fn saying(letter: u8) -> Folder {
    let folder = folder();
    let mut tensors = tensors(&SIZES);
    let fill = |values: &mut [f32], value| values.iter_mut().for_each(|entry| *entry = value);
    tensors.get_mut("model.norm.weight").map(|norm| fill(&mut norm.1, 0.0)).unwrap();
    tensors.get_mut("model.norm.bias").map(|norm| fill(&mut norm.1, 1.0)).unwrap();
    let head = &mut tensors.get_mut("lm_head.weight").unwrap().1;
    fill(&mut head[usize::from(letter) * SIZES.hidden..][..SIZES.hidden], 1.0);
    write_tensors(&folder.path("model/model.safetensors"), &tensors);
    folder
}

#[test]
fn what_the_model_says_of_sentences_and_its_confidence_is_read() {
    for (letter, support, confidence) in [(b'Y', 0.0, None), (b'N', 1.0, None), (b'0', 0.5, Some(0.0)), (b'9', 0.5, None)] {
        let options = ["--prompt", "Who?", "--samples", "3", "--temperature", "0.01", "--ignore-eos", "--traces", "judged"];
        let record = generate(&saying(letter), &options);
        assert_eq!(record["response"], char::from(letter).to_string().repeat(5));
        assert_eq!(record["judged"]["support"], json!([[support, support, support]]));
        assert_eq!(record["judged"]["verbalised"].as_f64(), confidence);
        assert!(record["judged"]["p_true"].as_f64().unwrap() < 1e-9);
    }
}

#[test]
fn questions_that_do_not_fit_stay_unanswered_and_are_counted() {
    let folder = Folder::with_model();
    let arguments = ["generate", "--json", "--model", &folder.arg("model"), "--prompt", "hi", "--samples", "2", "--traces", "judged"];
    let output = done(coppice(arguments).args(["--max-new-tokens", "4", "--ignore-eos"]));
    assert!(stderr(&output).contains("exceed this model's context of 64 tokens"), "{}", stderr(&output));
    let record: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(record["judged"], json!({}));
}

#[test]
fn traces_that_make_no_sense_are_refused() {
    let folder = folder();
    let command = |options: &[&str]| {
        let arguments = ["generate", "--model", &folder.arg("model"), "--prompt", "hi", "--max-new-tokens", "2"];
        coppice(arguments).args(options).output().unwrap()
    };
    assert_eq!(command(&["--traces", "hidden"]).status.code(), Some(2));
    assert_eq!(command(&["--json", "--traces", "dreams"]).status.code(), Some(2));
    let model = folder.arg("model");
    let options = ["--json", "--traces", "hidden", "--hidden-layers", "0,7", "--prompt", "hi"];
    let told = refused(coppice(["generate", "--model", &model]).args(options));
    assert!(told.contains("no hidden layer 7"), "{told}");
}
