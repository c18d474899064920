//! The tasks that come with the program: `experiments/tasks`.

use strsim::jaro_winkler;

/// Name and TOML of each.
const TASKS: [(&str, &str); 16] = [
    ("arc_challenge", include_str!("../../tasks/arc_challenge.toml")),
    ("arc_easy", include_str!("../../tasks/arc_easy.toml")),
    ("boolq", include_str!("../../tasks/boolq.toml")),
    ("documents", include_str!("../../tasks/documents.toml")),
    ("gsm8k", include_str!("../../tasks/gsm8k.toml")),
    ("hellaswag", include_str!("../../tasks/hellaswag.toml")),
    ("lambada_openai", include_str!("../../tasks/lambada_openai.toml")),
    ("mgsm", include_str!("../../tasks/mgsm.toml")),
    ("mmlu", include_str!("../../tasks/mmlu.toml")),
    ("openbookqa", include_str!("../../tasks/openbookqa.toml")),
    ("piqa", include_str!("../../tasks/piqa.toml")),
    ("sciq", include_str!("../../tasks/sciq.toml")),
    ("truthfulqa_mc1", include_str!("../../tasks/truthfulqa_mc1.toml")),
    ("truthfulqa_mc2", include_str!("../../tasks/truthfulqa_mc2.toml")),
    ("winogrande", include_str!("../../tasks/winogrande.toml")),
    ("xcopa_it", include_str!("../../tasks/xcopa_it.toml")),
];

/// Names of all tasks.
pub fn names() -> impl Iterator<Item = &'static str> {
    TASKS.iter().map(|(name, _)| *name)
}

/// The TOML of a task.
pub fn text(name: &str) -> Option<&'static str> {
    TASKS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The name most like another.
pub fn nearest(name: &str) -> &'static str {
    let closeness = |known: &&str| jaro_winkler(known, name);
    names().max_by(|a, b| closeness(a).total_cmp(&closeness(b))).unwrap_or_default()
}
