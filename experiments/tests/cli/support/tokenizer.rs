//! A byte-level tokenizer without merges, written by hand: one token a byte, then three special tokens.

use std::path::Path;

use serde_json::{Value, json};

/// Id of `<|endoftext|>`.
pub(crate) const END_OF_TEXT: usize = 256;

/// A ChatML template as Jinja has it.
const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Writes `tokenizer.json` and `tokenizer_config.json`.
pub(crate) fn write(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let config = json!({ "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "chat_template": CHATML });
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

/// The content of `tokenizer.json`: id = byte for the 256 bytes.
pub(crate) fn tokenizer() -> Value {
    let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
    let mut vocabulary: serde_json::Map<String, Value> = (0..=255_u8).map(|byte| (letter(byte).to_string(), json!(byte))).collect();
    vocabulary.extend(special.iter().zip(END_OF_TEXT..).map(|(token, id)| ((*token).to_owned(), json!(id))));
    let added = special.iter().zip(END_OF_TEXT..).map(|(token, id)| {
        json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true })
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                   "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [] },
    })
}

/// GPT-2's letter for a byte: printable Latin-1 stands for itself, the others for U+0100 on, in order.
fn letter(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !printable(byte)).count() as u32;
    char::from_u32(256 + before).unwrap()
}
