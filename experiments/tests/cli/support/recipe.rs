//! Training recipes for the tiny model.

use super::Folder;

/// Sixty short documents, no two alike.
fn documents() -> String {
    (0..60).map(|n| format!("{{\"text\":\"Document {n} says that {} and {} are seven apart.\"}}\n", n * 3, n * 3 + 7)).collect()
}

/// Writes corpus and recipe for training from random weights; `train` is the rest of the recipe's last table. Returns the recipe's path.
pub(crate) fn write(folder: &Folder, train: &str) -> String {
    let (train_file, valid_file) =
        (folder.write("train.jsonl", documents()), folder.write("valid.txt", "Document 99 says that nothing is."));
    let model = folder.arg("model");
    let recipe = format!(
        "[model]\nconfig = \"{model}/config.json\"\ntokenizer = \"{model}\"\nseed = 3\n\n[data]\ntrain = [\"{train_file}\"]\nvalid = [\"{valid_file}\"]\n\n\
         [train]\nsequence_length = 32\nbatch_size = 4\n{train}\n"
    );
    folder.write("recipe.toml", recipe)
}
