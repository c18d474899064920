//! Folders that are no encoder, and files older than today's: each is told what is wrong with it in one sentence, or understood.

use std::fs;
use std::path::{Path, PathBuf};

use coppice_detect::encoder::{open_entailment, open_similarity};
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoders").join(name)
}

/// A copy of a golden folder that the test may spoil.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str, purpose: &str) -> Self {
        let copy = std::env::temp_dir().join(format!("coppice-encoder-{}-{purpose}", std::process::id()));
        copy_files(&folder(name), &copy);
        Self(copy)
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) -> &Self {
        let path = self.0.join(file);
        let mut value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
        change(&mut value);
        fs::write(&path, value.to_string()).expect("written");
        self
    }

    fn refusal(&self) -> String {
        let nli = open_entailment(&self.0).err();
        let error = nli.or_else(|| open_similarity(&self.0).err()).expect("refused").to_string();
        assert!(!error.contains('\n'), "{error}");
        error.replace(&self.0.display().to_string(), "DIR")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Nothing to do about a folder for temporary files that cannot be emptied.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("there").map(|entry| entry.expect("readable").path()) {
        let target = to.join(entry.file_name().expect("named"));
        if entry.is_dir() {
            copy_files(&entry, &target);
        } else {
            fs::copy(&entry, target).expect("copied");
        }
    }
}

#[test]
fn a_folder_that_lacks_a_file_is_told_which() {
    let copy = Copy::of("bert", "files");
    fs::rename(copy.0.join("model.safetensors"), copy.0.join("pytorch_model.bin")).expect("renamed");
    assert!(copy.refusal().starts_with("DIR has no model.safetensors, only pytorch_model.bin: save it"), "{}", copy.refusal());
    for file in ["pytorch_model.bin", "tokenizer.json", "config.json"] {
        fs::remove_file(copy.0.join(file)).expect("there");
        let file = file.replace("pytorch_model.bin", "model.safetensors");
        assert!(copy.refusal().starts_with(&format!("DIR/{file}: cannot be read: ")), "{}", copy.refusal());
    }
    let absent = open_similarity(folder("absent")).expect_err("absent").to_string();
    assert!(absent.ends_with("absent/config.json: cannot be read: No such file or directory (os error 2)"), "{absent}");
}

#[test]
fn a_classifier_of_something_else_is_refused() {
    let copy = Copy::of("bert", "labels");
    for labels in [json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}), json!({"0": "entailment", "1": "neutral"}), json!(null)] {
        copy.edit("config.json", |config| config["id2label"] = labels);
        assert!(copy.refusal().contains("which is no natural-language inference: expected entailment"), "{}", copy.refusal());
    }
    copy.edit("config.json", |config| config["id2label"] = json!({"0": "Entailment", "1": "not-entailment"}));
    assert!(copy.refusal().starts_with("DIR/model.safetensors: shape mismatch for classifier.weight"), "{}", copy.refusal());
}

#[test]
fn a_network_that_is_not_computed_is_refused() {
    let cases = [
        ("bert", "model_type", json!("gpt2"), "model_type is gpt2; supported: bert, "),
        ("bert", "hidden_act", json!("swish"), "hidden_act is swish; supported: gelu, "),
        ("bert", "position_embedding_type", json!("relative_key"), "position_embedding_type is relative_key; supported: absolute"),
        ("bert", "num_attention_heads", json!(0), "num_attention_heads is 0; supported: a divisor of hidden_size (16)"),
        ("bert", "num_attention_heads", json!(3), "num_attention_heads is 3; supported: a divisor"),
        ("roberta", "max_position_embeddings", json!(1_u64 << 40), "max_position_embeddings is 1099511627776; supported: 16 to "),
        ("deberta", "conv_kernel_size", json!(3), "conv_kernel_size is 3; supported: 0"),
        ("bert", "is_decoder", json!(true), "is_decoder is true; supported: false"),
        ("modernbert", "norm_bias", json!(true), "norm_bias is true; supported: false"),
        ("modernbert", "classifier_pooling", json!("max"), "classifier_pooling is max; supported: cls, mean"),
        (
            "modernbert",
            "global_attn_every_n_layers",
            json!(2),
            "layer_types is full_attention, sliding_attention, sliding_attention; supported",
        ),
        ("modernbert", "hidden_size", json!(null), "invalid type: null, expected usize"),
    ];
    for (index, (name, key, value, message)) in cases.into_iter().enumerate() {
        let copy = Copy::of(name, &format!("network-{index}"));
        copy.edit("config.json", |config| config[key] = value);
        assert!(copy.refusal().starts_with(&format!("DIR/config.json: {message}")), "{}", copy.refusal());
    }
}

#[test]
fn pooling_that_is_not_computed_is_refused() {
    let copy = Copy::of("minilm", "pooling");
    let refusal = || open_similarity(&copy.0).expect_err("refused").to_string();
    copy.edit("1_Pooling/config.json", |config| config["pooling_mode_max_tokens"] = json!(true));
    assert!(refusal().contains("pooling_mode is max_tokens and mean_tokens; supported: mean, cls"), "{}", refusal());
    copy.edit("modules.json", |modules| modules[1]["type"] = json!("sentence_transformers.models.Dense"));
    assert!(refusal().contains("type is Dense; supported: Transformer, Pooling, Normalize"), "{}", refusal());
}

#[test]
fn a_length_that_holds_no_text_is_refused() {
    let copy = Copy::of("minilm", "length");
    copy.edit("sentence_bert_config.json", |settings| settings["max_seq_length"] = json!(1));
    let refusal = open_similarity(&copy.0).expect_err("refused").to_string();
    assert!(refusal.ends_with("texts of 1 tokens are the longest its files allow; expected 8 or more"), "{refusal}");
}

/// A file of tensors with its header (names, shapes, types) changed.
fn spoilt(change: impl FnOnce(&mut Value), bytes: &[u8]) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    change(&mut header);
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &bytes[8 + length..]].concat()
}

#[test]
fn tensors_that_are_missing_misshapen_or_quantised_are_named() {
    let copy = Copy::of("modernbert", "tensors");
    let path = copy.0.join("model.safetensors");
    let whole = fs::read(&path).expect("there");
    let rename = |from: &'static str| {
        move |header: &mut Value| {
            let entry = header[from].take();
            let _ = header.as_object_mut().expect("an object").remove(from);
            header["elsewhere"] = entry;
        }
    };
    let refusal = |bytes: Vec<u8>| {
        fs::write(&path, bytes).expect("written");
        copy.refusal()
    };
    for name in ["model.layers.1.attn_norm.weight", "model.layers.2.mlp.Wo.weight", "head.norm.weight"] {
        let refusal = refusal(spoilt(rename(name), &whole));
        assert!(refusal.contains("not found") && refusal.contains(name.trim_start_matches("model.")), "{refusal}");
    }
    let shape = refusal(spoilt(|header| header["head.dense.weight"]["shape"] = json!([8, 32]), &whole));
    assert!(shape.contains("shape mismatch for head.dense.weight"), "{shape}");
    let integers = refusal(spoilt(|header| header["head.dense.weight"]["dtype"] = json!("I16"), &whole));
    assert_eq!(integers, "DIR/model.safetensors: head.dense.weight is of type I16; expected F32, F16 or BF16");
    assert!(refusal(whole[..whole.len() / 2].to_vec()).starts_with("DIR/model.safetensors: "));
    assert!(refusal(Vec::new()).starts_with("DIR/model.safetensors: "));
}

#[test]
fn ids_beyond_the_vocabulary_are_an_error_of_the_back_end() {
    let copy = Copy::of("minilm", "ids");
    copy.edit("tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["paris"] = json!(100_000));
    let error = open_similarity(&copy.0).expect("opens").matrix(&["paris", "no"]).expect_err("no such row").to_string();
    assert!(error.starts_with("encoder: ") && !error.contains('\n'), "{error}");
}

#[test]
fn older_names_and_missing_prefixes_are_understood() {
    let copy = Copy::of("minilm", "names");
    let (path, texts) = (copy.0.join("model.safetensors"), ["The capital of France is Paris.", "No."]);
    let expected = open_similarity(&copy.0).expect("golden").matrix(&texts).expect("texts");
    let older = |header: &mut Value| {
        let entries = std::mem::take(header.as_object_mut().expect("an object"));
        let name = |name: String| match name.as_str() {
            "__metadata__" => name,
            _ => format!("bert.{}", name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")),
        };
        *header = entries.into_iter().map(|(key, entry)| (name(key), entry)).collect();
    };
    let bytes = spoilt(older, &fs::read(&path).expect("there"));
    fs::write(&path, bytes).expect("written");
    assert_eq!(open_similarity(&copy.0).expect("older").matrix(&texts).expect("texts"), expected);
}
