//! The tokenizer and the chat templates against what Python's `tokenizers` and transformers make of the same input
//! (`golden/make_tokenizer.py`, `golden/make_chat.py`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use coppice_models::chat::{ChatError, ChatTemplate, Message, stop_ids};
use coppice_models::tokenizer::{TextStream, Tokenizer, TokenizerError};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

/// A word-level tokenizer: small enough to be written here, and not byte-level.
const WORDS: &str = r#"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
    "padding": null, "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "added_tokens": [{"id": 4, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        {"id": 6, "content": "<|unused_6|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "café": 2, "<|im_end|>": 4, "<|unused_6|>": 6}, "unk_token": "a"}}"#;

#[derive(Deserialize)]
struct TokenizerGolden {
    vocab_size: usize,
    cases: Vec<TextCase>,
    broken: Vec<BrokenCase>,
}

#[derive(Deserialize)]
struct TextCase {
    text: String,
    ids: Vec<u32>,
    whole: String,
    without_special: String,
}

#[derive(Deserialize)]
struct BrokenCase {
    ids: Vec<u32>,
    whole: String,
}

#[derive(Deserialize)]
struct ChatGolden {
    tokens: HashMap<String, String>,
    refusing: String,
    cases: Vec<ChatCase>,
}

#[derive(Deserialize)]
struct ChatCase {
    name: String,
    template: String,
    messages: Vec<Message>,
    prompt: bool,
    text: String,
}

fn golden<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// StableLM 2's tokenizer, where the data folder (`COPPICE_DATA`) is at hand; said aloud where it is not.
fn arcade() -> Option<Tokenizer> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("COPPICE_DATA").map_or(default, PathBuf::from).join("tokenizers/arcade100k_reconstructed.json.zst");
    let Ok(file) = fs::File::open(&path) else {
        eprintln!("SKIPPED: {} is not there; COPPICE_DATA names the data folder", path.display());
        return None;
    };
    Some(Tokenizer::from_bytes(&zstd::decode_all(file).unwrap()).unwrap())
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn user(text: &str) -> Vec<Message> {
    vec![Message::new("user", text)]
}

fn template(source: &str) -> Result<ChatTemplate, ChatError> {
    ChatTemplate::new(source, HashMap::new())
}

#[test]
fn ids_and_texts_are_those_of_python() {
    let (Some(tokenizer), golden) = (arcade(), golden::<TokenizerGolden>("tokenizer.json")) else { return };
    assert_eq!(tokenizer.vocab_size(), golden.vocab_size);
    for case in golden.cases {
        assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&case.ids).unwrap(), case.without_special);
        assert_eq!(tokenizer.pieces(&case.ids).unwrap().concat(), case.whole);
        let bytes = case.ids.iter().flat_map(|&id| tokenizer.bytes(id).unwrap()).collect::<Vec<_>>();
        assert_eq!(String::from_utf8(bytes).unwrap(), case.whole);
    }
}

#[test]
fn a_stream_never_shows_half_a_character() {
    let (Some(tokenizer), golden) = (arcade(), golden::<TokenizerGolden>("tokenizer.json")) else { return };
    for case in golden.broken {
        let mut stream = TextStream::new(&tokenizer);
        let shown = case.ids.iter().map(|&id| stream.push(id).unwrap()).collect::<String>();
        assert!(!shown.contains('\u{FFFD}') && case.whole.starts_with(&shown), "{shown:?} of {:?}", case.whole);
        assert_eq!(shown + &stream.finish(), case.whole);
    }
}

#[test]
fn padding_and_unused_ids_are_named() {
    let Some(tokenizer) = arcade() else { return };
    let expected = std::iter::once(100_256).chain(100_289..100_352).collect::<Vec<i64>>();
    assert_eq!(tokenizer.unused_ids(100_352), expected);
    assert_eq!(tokenizer.bytes(100_300), None);
    assert_eq!(tokenizer.decode(&[9906, 100_300]).unwrap(), "Hello");
}

#[test]
fn a_tokenizer_that_is_not_byte_level_works_and_cuts_nothing() {
    let checkpoint = folder(&[("tokenizer.json", WORDS), ("tokenizer_config.json", r#"{"eos_token": {"content": "<|im_end|>"}}"#)]);
    let tokenizer = Tokenizer::load(checkpoint.path()).unwrap();
    assert_eq!((tokenizer.eos_id(), tokenizer.bos_id()), (Some(4), None));
    assert_eq!(tokenizer.encode("a b café").unwrap(), [0, 1, 2], "the truncation the file asks for is off");
    assert_eq!(tokenizer.pieces(&[0, 1, 2]).unwrap(), ["a", " b", " café"]);
    assert_eq!(tokenizer.unused_ids(8), [3, 5, 6, 7]);
}

#[test]
fn broken_files_are_sentences_that_name_them() {
    let load = |files: &[(&str, &str)]| Tokenizer::load(folder(files).path()).unwrap_err();
    for content in ["", "{", "{}", "[]", r#"{"version": "1.0", "model": {"type": "BPE"}}"#, &WORDS[..WORDS.len() / 2]] {
        let error = load(&[("tokenizer.json", content)]);
        assert!(matches!(error, TokenizerError::File { .. }) && error.to_string().contains("tokenizer.json"), "{error}");
    }
    let error = load(&[("tokenizer.json", WORDS), ("tokenizer_config.json", "{")]);
    assert!(error.to_string().contains("tokenizer_config.json"), "{error}");
    assert!(matches!(load(&[]), TokenizerError::File { .. }));
    let error = load(&[("arcade100k.tiktoken", "IQ== 0\n")]);
    assert!(matches!(error, TokenizerError::Tiktoken { .. }) && error.to_string().contains("arcade100k.tiktoken"), "{error}");
}

#[test]
fn templates_render_as_in_transformers() {
    let golden = golden::<ChatGolden>("chat.json");
    for case in golden.cases {
        let template = ChatTemplate::new(case.template, golden.tokens.clone()).unwrap();
        assert_eq!(template.render(&case.messages, case.prompt).unwrap(), case.text, "{} {}", case.name, case.prompt);
        let built_in = match case.name.as_str() {
            "chatml" => ChatTemplate::chatml(),
            "zephyr" => ChatTemplate::zephyr(),
            _ => continue,
        };
        assert_eq!(built_in.unwrap().render(&case.messages, case.prompt).unwrap(), case.text);
    }
}

#[test]
fn a_refusal_is_in_the_templates_own_words() {
    let golden = golden::<ChatGolden>("chat.json");
    let error = template(&golden.refusing).unwrap().render(&[Message::new("system", "x")], true).unwrap_err();
    assert!(matches!(&error, ChatError::Refused(words) if words == "A conversation starts with the user"), "{error}");
}

#[test]
fn a_hostile_template_ends_with_a_sentence() {
    let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}x{% endfor %}{% endfor %}{% endfor %}";
    let doubling = "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}";
    let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    let others = ["{{ 'x' * 99999999999 }}", "{{ strftime_now('%!') }}", "{% include '/etc/passwd' %}", "{{ [] | tojson(wrong=1) }}"];
    for source in [endless, doubling, recursive].into_iter().chain(others) {
        let error = template(source).and_then(|template| template.render(&user("x"), true)).unwrap_err();
        assert!(matches!(error, ChatError::Template(_)), "{source}: {error}");
    }
    for source in ["{% for %}", "{{ ", "{% generation", &"x".repeat((1 << 20) + 1)] {
        assert!(matches!(template(source), Err(ChatError::Template(_))));
    }
}

#[test]
fn the_date_has_pythons_format() {
    let text = template("{{ strftime_now('%d %B %Y') }}").unwrap().render(&[], false).unwrap();
    let parts = text.split(' ').collect::<Vec<_>>();
    assert!(parts.len() == 3 && parts[0].len() == 2 && parts[2].parse::<u32>().unwrap() >= 2024, "{text}");
}

#[test]
fn the_template_is_found_where_checkpoints_keep_it() {
    let render =
        |files: &[(&str, &str)]| ChatTemplate::load(folder(files).path()).map(|template| template.render(&user("x"), true).unwrap());
    let config = r#"{"eos_token": "E", "chat_template": "string{{ eos_token }}"}"#;
    let list = r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "listed"}]}"#;
    assert_eq!(render(&[("tokenizer_config.json", config)]).unwrap(), "stringE");
    assert_eq!(render(&[("tokenizer_config.json", list)]).unwrap(), "listed");
    assert_eq!(render(&[("tokenizer_config.json", config), ("chat_template.jinja", "file{{ eos_token }}")]).unwrap(), "fileE");
    assert!(matches!(render(&[("tokenizer_config.json", "{}")]), Err(ChatError::Missing(_))));
    assert!(matches!(render(&[("tokenizer_config.json", "no json")]), Err(ChatError::File(_))));
}

#[test]
fn both_stop_ids_are_collected() {
    let stop = |generation: &str, eos: &[i64]| stop_ids(folder(&[("generation_config.json", generation)]).path(), eos, None);
    assert_eq!(stop(r#"{"eos_token_id": 100278}"#, &[100_257]).unwrap(), [100_257, 100_278]);
    assert_eq!(stop(r#"{"eos_token_id": [100278, 100257]}"#, &[100_257]).unwrap(), [100_257, 100_278]);
    assert_eq!(stop("{}", &[7]).unwrap(), [7]);
    assert_eq!(stop_ids(folder(&[]).path(), &[], None).unwrap(), Vec::<i64>::new());
    for bad in [json!("x"), json!(-1), json!([1, "x"]), json!(1.5)] {
        assert!(matches!(stop(&json!({ "eos_token_id": bad }).to_string(), &[]), Err(ChatError::File(_))));
    }
    if let Some(arcade) = arcade() {
        assert_eq!(stop_ids(folder(&[]).path(), &[100_257], Some(&arcade)).unwrap(), [100_257, 100_278]);
    }
}
