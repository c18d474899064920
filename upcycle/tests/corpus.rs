//! Corpus files as documents, token ids in order, and a trained tokenizer that is the same every time.

use std::path::{Path, PathBuf};

use coppice_upcycle::corpus::{self, CorpusError, tokenize_documents};
use coppice_upcycle::tokenizer_training::{END_OF_TEXT, TokenizerSettings, train_tokenizer, write_tokenizer};
use coppice_upcycle::world::{Attribute, World, WorldConfig};
use tokenizers::Tokenizer;

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn documents(path: &Path) -> Result<Vec<String>, CorpusError> {
    corpus::open(path)?.collect()
}

#[test]
fn the_four_kinds_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let lines = b"{\"text\": \"one\\ntwo\", \"id\": 1}\r\n{\"text\": \"\xc3\xa9t\xc3\xa9\"}";
    let text = "First.\n\nSecond.\n".as_bytes();
    let squeeze = |bytes| zstd::encode_all(bytes, 3).unwrap();
    for path in [file(folder.path(), "a.jsonl", lines), file(folder.path(), "a.jsonl.zst", &squeeze(&lines[..]))] {
        assert_eq!(documents(&path).unwrap(), ["one\ntwo", "été"]);
    }
    for path in [file(folder.path(), "a.txt", text), file(folder.path(), "a.txt.zst", &squeeze(text))] {
        assert_eq!(documents(&path).unwrap(), ["First.\n\nSecond.\n"]);
    }
}

#[test]
fn bad_files_are_named_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = b"{\"text\": \"good\"}\n";
    let mut cut_off = zstd::encode_all(&good.repeat(9)[..], 3).unwrap();
    cut_off.truncate(cut_off.len() - 4);
    let cases: [(&str, Vec<u8>, &str); 12] = [
        ("malformed.jsonl", [good, &b"{\"text\": \"cut\n"[..]].concat(), "line 2: "),
        ("utf8.jsonl", [good, good, &b"{\"text\": \"\xff\"}\n"[..]].concat(), "line 3: not UTF-8"),
        ("blank.jsonl", [&b"\n"[..], good].concat(), "line 1: the line is blank"),
        ("field.jsonl", b"{\"body\": \"x\"}\n".to_vec(), "line 1: missing field `text`"),
        ("kind.jsonl", b"{\"text\": 7}\n".to_vec(), "line 1: invalid type"),
        ("void.jsonl", b"{\"text\": \"\"}\n".to_vec(), "line 1: the document is empty"),
        ("empty.jsonl", Vec::new(), "empty.jsonl: the file is empty"),
        ("empty.txt", b" \n\n".to_vec(), "empty.txt: the file is empty"),
        ("utf8.txt", b"one\ntwo\xc3\n".to_vec(), "line 2: not UTF-8"),
        ("cut.jsonl.zst", cut_off, "cut.jsonl.zst: "),
        ("not.txt.zst", b"plain text".to_vec(), "not.txt.zst: "),
        ("table.csv", b"a,b".to_vec(), "expected .jsonl"),
    ];
    for (name, bytes, expected) in cases {
        let sentence = documents(&file(folder.path(), name, &bytes)).unwrap_err().to_string();
        assert!(sentence.contains(name) && sentence.contains(expected), "{sentence}");
    }
    assert!(documents(&folder.path().join("absent.txt")).unwrap_err().to_string().contains("absent.txt"));
}

#[test]
fn reading_ends_after_the_first_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.jsonl", b"{\"text\": \"good\"}\nbad\n{\"text\": \"good\"}\n");
    let read: Vec<_> = corpus::open(&path).unwrap().map(|document| document.is_ok()).collect();
    assert_eq!(read, [true, false]);
}

fn world() -> World {
    World::generate(WorldConfig { passes: 1, ..WorldConfig::default() }).unwrap()
}

fn trained(world: &World) -> (Tokenizer, TokenizerSettings) {
    let settings = TokenizerSettings::default();
    (train_tokenizer(world.tokenizer_documents(1500), &settings).unwrap(), settings)
}

#[test]
fn a_tokenizer_is_the_same_twice_and_reads_back() {
    let world = world();
    let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in [&first, &second] {
        let (tokenizer, settings) = trained(&world);
        write_tokenizer(&tokenizer, &settings, folder.path()).unwrap();
    }
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(name)).unwrap();
        assert!(read(&first) == read(&second), "{name} differs");
    }
    let tokenizer = Tokenizer::from_file(first.path().join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.get_vocab_size(true), 1500);
    assert_eq!(tokenizer.token_to_id(END_OF_TEXT), Some(0));
    let text = "Any text: naïve ☃ \t\u{1f332} is kept.\n";
    let ids = tokenizer.encode(text, true).unwrap();
    assert_eq!(tokenizer.decode(ids.get_ids(), false).unwrap(), text);
}

#[test]
fn answers_are_short() {
    let world = world();
    let (tokenizer, _) = trained(&world);
    for attribute in Attribute::ALL {
        let length = |answer: &String| tokenizer.encode(format!(" {answer}"), false).unwrap().len();
        let lengths: Vec<_> = world.pools().answers(attribute).iter().map(length).collect();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!(mean <= 3.0, "{attribute:?}: {mean} tokens");
    }
}

#[test]
fn settings_that_cannot_be_met_are_refused() {
    let train = |settings: TokenizerSettings| train_tokenizer(["one two".to_owned()].into_iter(), &settings).unwrap_err().to_string();
    let default = TokenizerSettings::default;
    assert!(train(TokenizerSettings { vocab_size: 256, ..default() }).contains("below 257"));
    assert!(train(TokenizerSettings { special_tokens: vec!["<s>".to_owned()], ..default() }).contains(END_OF_TEXT));
    assert!(train(default()).contains("this text gives"));
}

#[test]
fn documents_are_tokenised_in_order_each_ended() {
    let (tokenizer, _) = trained(&world());
    let texts: Vec<_> = (0..5000).map(|number| format!("Document {number} was born.")).collect();
    let corpus = tokenize_documents(&tokenizer, texts.iter().cloned().map(Ok), 0).unwrap();
    assert_eq!(corpus.starts.len(), 5000);
    let ends = corpus.starts.iter().skip(1).copied().chain([corpus.tokens.len()]);
    for ((&start, end), text) in corpus.starts.iter().zip(ends).zip(&texts) {
        assert_eq!(corpus.tokens[end - 1], 0);
        assert_eq!(&tokenizer.decode(&corpus.tokens[start..end - 1], false).unwrap(), text);
    }
    let absent = tokenize_documents(&tokenizer, texts.into_iter().map(Ok), 1500).unwrap_err();
    assert!(absent.to_string().contains("1500"), "{absent}");
}

/// The shared data: `COPPICE_DATA`, or `../shared/data` beside the workspace.
fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("COPPICE_DATA").map_or_else(beside, PathBuf::from).join("corpus/small");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no corpus at {}; set COPPICE_DATA to the shared data", folder.display());
    None
}

#[test]
fn the_small_corpus_is_read_and_tokenised() {
    let Some(folder) = data() else { return };
    // Documents and bytes as the data's README and `zstd -dc` state them.
    assert_eq!(documents(&folder.join("small-en-train.jsonl.zst")).unwrap().len(), 471);
    let valid = documents(&folder.join("small-en-valid.jsonl.zst")).unwrap();
    assert_eq!(valid.len(), 33);
    assert_eq!(documents(&folder.join("tinyshakespeare.txt.zst")).unwrap()[0].len(), 1_115_394);
    let settings = TokenizerSettings { vocab_size: 2000, ..TokenizerSettings::default() };
    let tokenizer = train_tokenizer(valid.clone().into_iter(), &settings).unwrap();
    let corpus = tokenize_documents(&tokenizer, valid.iter().cloned().map(Ok), 0).unwrap();
    let end = corpus.starts[1] - 1;
    assert_eq!(tokenizer.decode(&corpus.tokens[..end], false).unwrap(), valid[0]);
}
