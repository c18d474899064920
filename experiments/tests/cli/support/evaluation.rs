//! The model and the rows of `tests/golden/eval.py`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Folder, coppice, tokenizer, weights, write_checkpoint};

/// A file beside the script.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// What the script wrote.
pub(crate) fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path("eval.json")).unwrap()).unwrap()
}

/// A folder with the model in `model/` and the rows in `data/`.
pub(crate) fn folder() -> Folder {
    let (golden, folder) = (golden(), Folder::new());
    let tensors = golden["tensors"].as_object().unwrap().iter().map(|(name, recipe)| {
        let shape: Vec<usize> = recipe["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        let number = |key: &str| recipe[key].as_f64().unwrap() as f32;
        (name.clone(), (shape.clone(), weights::tensor(name, shape.iter().product(), number("offset"), number("scale"))))
    });
    write_checkpoint(&folder.path("model"), &golden["config"], &tensors.collect());
    tokenizer::write(&folder.path("model"));
    for (name, rows) in golden["files"].as_object().unwrap() {
        let lines: String = rows.as_array().unwrap().iter().map(|row| format!("{row}\n")).collect();
        std::fs::create_dir_all(folder.path("data").join(name).parent().unwrap()).unwrap();
        folder.write(&format!("data/{name}.jsonl"), lines);
    }
    folder
}

/// `coppice eval` of tasks in such a folder, to `out.json`.
pub(crate) fn eval(folder: &Folder, tasks: &str, option: &str) -> Command {
    let (model, data, output) = (folder.arg("model"), folder.arg("data"), folder.arg("out.json"));
    let mut command = coppice(["eval", "--model", &model, "--tasks", tasks, "--output", &output]);
    command.args(option.split_whitespace()).current_dir(&data);
    command
}

/// The results.
pub(crate) fn results(folder: &Folder) -> Value {
    serde_json::from_str(&folder.read("out.json")).unwrap()
}
