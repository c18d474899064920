//! The tasks that come with the program, and those in files of the user's.
//!
//! A new task is a file in `experiments/tasks/` and a line here. A task may begin with `base = "NAME"`: it is that task with some keys changed.

use std::path::Path;

use toml::{Table, Value};

use super::task::Task;
use crate::toml_file;

/// Name and content of every task.
const TASKS: &[(&str, &str)] = &[
    ("arc_challenge", include_str!("../../tasks/arc_challenge.toml")),
    ("arc_easy", include_str!("../../tasks/arc_easy.toml")),
    ("boolq", include_str!("../../tasks/boolq.toml")),
    ("commonsense_qa", include_str!("../../tasks/commonsense_qa.toml")),
    ("documents", include_str!("../../tasks/documents.toml")),
    ("gsm8k", include_str!("../../tasks/gsm8k.toml")),
    ("hellaswag", include_str!("../../tasks/hellaswag.toml")),
    ("lambada_openai", include_str!("../../tasks/lambada_openai.toml")),
    ("mgsm", include_str!("../../tasks/mgsm.toml")),
    ("mmlu", include_str!("../../tasks/mmlu.toml")),
    ("mt_bench", include_str!("../../tasks/mt_bench.toml")),
    ("nq_open", include_str!("../../tasks/nq_open.toml")),
    ("openbookqa", include_str!("../../tasks/openbookqa.toml")),
    ("piqa", include_str!("../../tasks/piqa.toml")),
    ("sciq", include_str!("../../tasks/sciq.toml")),
    ("social_iqa", include_str!("../../tasks/social_iqa.toml")),
    ("triviaqa", include_str!("../../tasks/triviaqa.toml")),
    ("truthfulqa_mc1", include_str!("../../tasks/truthfulqa_mc1.toml")),
    ("truthfulqa_mc1_ca", include_str!("../../tasks/truthfulqa_mc1_ca.toml")),
    ("truthfulqa_mc1_es", include_str!("../../tasks/truthfulqa_mc1_es.toml")),
    ("truthfulqa_mc1_eu", include_str!("../../tasks/truthfulqa_mc1_eu.toml")),
    ("truthfulqa_mc1_gl", include_str!("../../tasks/truthfulqa_mc1_gl.toml")),
    ("truthfulqa_mc2", include_str!("../../tasks/truthfulqa_mc2.toml")),
    ("truthfulqa_mc2_ca", include_str!("../../tasks/truthfulqa_mc2_ca.toml")),
    ("truthfulqa_mc2_es", include_str!("../../tasks/truthfulqa_mc2_es.toml")),
    ("truthfulqa_mc2_eu", include_str!("../../tasks/truthfulqa_mc2_eu.toml")),
    ("truthfulqa_mc2_gl", include_str!("../../tasks/truthfulqa_mc2_gl.toml")),
    ("wikitext", include_str!("../../tasks/wikitext.toml")),
    ("winogrande", include_str!("../../tasks/winogrande.toml")),
    ("xcopa_it", include_str!("../../tasks/xcopa_it.toml")),
];

/// Deepest chain of `base`.
const BASES: usize = 4;

/// The names of the tasks, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    TASKS.iter().map(|(name, _)| *name)
}

/// A task by its name, or by the path of a file that ends in `.toml`.
///
/// # Errors
/// One sentence: no such task, with the nearest known one, or what is wrong with the file.
pub fn find(name: &str) -> Result<Task, String> {
    let task = table(name, BASES)?;
    let task: Task = task.try_into().map_err(|error: toml::de::Error| format!("task {name}: {}", toml_file::message(&error)))?;
    task.check().map_err(|why| format!("task {name}: {why}"))?;
    Ok(task)
}

/// What the results of a task are called.
pub fn title(name: &str) -> String {
    if !is_path(name) {
        return name.to_owned();
    }
    Path::new(name).file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn is_path(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "toml")
}

fn table(name: &str, bases: usize) -> Result<Table, String> {
    let mut own: Table = toml_file::parse(&source(name)?).map_err(|why| format!("task {name}: {why}"))?;
    let Some(base) = own.remove("base") else { return Ok(own) };
    let base = base.as_str().ok_or_else(|| format!("task {name}: `base` is no text"))?.to_owned();
    let left = bases.checked_sub(1).ok_or_else(|| format!("task {name}: tasks stand on one another more than {BASES} deep"))?;
    Ok(over(table(&base, left)?, own))
}

fn source(name: &str) -> Result<String, String> {
    if is_path(name) {
        return std::fs::read_to_string(name).map_err(|error| format!("cannot read task {name}: {error}"));
    }
    let found = TASKS.iter().find(|(known, _)| *known == name);
    found.map(|(_, source)| (*source).to_owned()).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    let near = names().map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = near.filter(|(likeness, _)| *likeness > 0.7).map(|(_, known)| format!(" (did you mean `{known}`?)"));
    format!("unknown task `{name}`{}; --list names them all", hint.unwrap_or_default())
}

/// The keys of `own` over those of `base`, tables merged.
fn over(mut base: Table, own: Table) -> Table {
    for (key, value) in own {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(base)), Value::Table(own)) => Value::Table(over(base, own)),
            (_, value) => value,
        };
        base.insert(key, merged);
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_well_formed_and_says_what_it_is() {
        for name in names() {
            let task = find(name).unwrap_or_else(|why| panic!("{why}"));
            assert!(task.about.ends_with('.'), "{name}: {}", task.about);
        }
    }

    #[test]
    fn an_unknown_task_is_answered_with_the_nearest() {
        let why = find("arc_chalenge").expect_err("no such task");
        assert!(why.contains("unknown task `arc_chalenge` (did you mean `arc_challenge`?)"), "{why}");
    }

    #[test]
    fn keys_go_over_those_of_the_base() {
        let base: Table = "shots = 1\n[prompt]\ncontext = 'a'\ndelimiter = ''".parse().expect("toml");
        let merged = over(base, "[prompt]\ncontext = 'b'".parse().expect("toml"));
        let expected: Table = "shots = 1\n[prompt]\ndelimiter = ''\ncontext = 'b'".parse().expect("toml");
        assert_eq!(merged, expected);
    }
}
