//! The model card: `README.md` of an upcycled checkpoint, in the Hub's form (YAML front matter, then Markdown).
//!
//! Names that come from outside are escaped wherever they stand. The step-0 report is made when the checkpoint is complete, so its section
//! is filled in afterwards by [`add_report`].

mod source;
mod text;

use std::path::Path;

use coppice_models::flops::{Account, Setting};
use coppice_models::fs::write_atomic;
use coppice_models::{Checkpoint, Config, MoeConfig};

use self::source::Origin;
use self::text::{code, escape, grouped, quoted};
use crate::convert::{ConvertError, MANIFEST, Manifest, Result};
use crate::step0::Step0;

/// Name of the card in the output folder.
pub const CARD: &str = "README.md";

const REPORT_BEGINS: &str = "<!-- step-0 report: begin -->";
const REPORT_ENDS: &str = "<!-- step-0 report: end -->";
const NO_REPORT: &str = "No report was made.";

/// Writes the card of a conversion of `source` to `config` into `folder`.
///
/// # Errors
/// When the cost cannot be counted or the file cannot be written.
pub(crate) fn write(folder: &Path, config: &Config, source: &Checkpoint, manifest: &Manifest) -> Result<()> {
    let text = render(config, source, manifest)?;
    Ok(write_atomic(folder.join(CARD), text.as_bytes())?)
}

/// Puts the step-0 report into the card of `folder`, in place of the one that stands there.
///
/// # Errors
/// When the card cannot be read or written, or has no place for a report.
pub fn add_report(folder: &Path, report: &Step0) -> Result<()> {
    let path = folder.join(CARD);
    let card = std::fs::read_to_string(&path).map_err(ConvertError::io(&path))?;
    let no_place = || ConvertError::Options(format!("{}: the card has no place for the step-0 report", path.display()));
    let (before, rest) = card.rsplit_once(REPORT_BEGINS).ok_or_else(no_place)?;
    let (_, after) = rest.split_once(REPORT_ENDS).ok_or_else(no_place)?;
    let section = report_section(&format!("{}\n\n```text\n{}\n```", escape(&report.verdict()), fenced(&report.lines())));
    Ok(write_atomic(&path, [before, &section, after].concat().as_bytes())?)
}

fn report_section(content: &str) -> String {
    format!("{REPORT_BEGINS}\n{content}\n{REPORT_ENDS}")
}

/// Lines inside a fence, which none of them may end.
fn fenced(lines: &[String]) -> String {
    lines.join("\n").replace('`', "'")
}

fn render(config: &Config, source: &Checkpoint, manifest: &Manifest) -> Result<String> {
    let Some(moe) = &config.moe else { return Err(ConvertError::Options("a model without experts has no card".into())) };
    let origin = Origin::of(&source.folder);
    let sections = [
        front_matter(&origin, manifest),
        about(&origin, config, moe, manifest),
        format!("## Method\n\n{}", method(moe, manifest)),
        format!("## Cost\n\n{}", cost(config, source)?),
        format!("## Loading\n\n{}", LOADING.trim()),
        format!("## Step 0\n\nHow far the checkpoint is from its dense source before any training.\n\n{}", report_section(NO_REPORT)),
        format!("## Provenance\n\n{}", provenance(&origin, source, manifest)),
    ];
    Ok(sections.join("\n\n") + "\n")
}

fn front_matter(origin: &Origin, manifest: &Manifest) -> String {
    let mut lines = vec!["---".to_owned()];
    lines.extend(origin.license.iter().map(|(key, value)| format!("{key}: {}", quoted(value))));
    lines.push(format!("base_model: {}", quoted(&origin.name)));
    lines.push("library_name: transformers".into());
    lines.push("pipeline_tag: text-generation".into());
    lines.push("tags:".into());
    let tags = ["stablelm", "stablelm_moe", "mixture-of-experts", "upcycling", "coppice", &manifest.options.method];
    lines.extend(tags.iter().map(|tag| format!("- {}", quoted(tag))));
    lines.push("---".into());
    lines.join("\n")
}

fn about(origin: &Origin, config: &Config, moe: &MoeConfig, manifest: &Manifest) -> String {
    let name = escape(&origin.name);
    let (layers, all, n, k) = (moe.layers.len(), config.num_hidden_layers, moe.num_experts, moe.experts_per_token);
    format!(
        "# {name}, upcycled to {n} experts\n\nA mixture of experts made from the dense StableLM 2 {name} by sparse upcycling (method {}): the \
         MLPs of {layers} of its {all} layers became {n} routed experts each, of which every token meets {k}. It was converted and not trained \
         since, unless somebody says so below.",
        code(&manifest.options.method)
    )
}

/// What was chosen, as a table.
fn method(moe: &MoeConfig, manifest: &Manifest) -> String {
    let options = &manifest.options;
    let summary = crate::methods::find(&options.method).map_or("a method of its maker's own", crate::methods::Method::summary);
    let layers = moe.layers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let shared = moe.shared_expert.as_ref().map_or("none".into(), |shared| {
        format!("width {}{}", grouped(shared.intermediate_size as u64), if shared.gated { ", with a gate" } else { "" })
    });
    let router = serde_json::to_value(options).ok().and_then(|all| all["router_init"].as_str().map(str::to_owned)).unwrap_or_default();
    table(&[
        ("method", format!("{}: {}", code(&options.method), escape(summary))),
        ("converted layers", layers),
        ("experts a layer", moe.num_experts.to_string()),
        ("experts a token", moe.experts_per_token.to_string()),
        ("width of an expert", grouped(moe.expert_intermediate_size as u64)),
        ("shared expert", shared),
        ("gate", code(moe.gate.name())),
        ("router", format!("{}, standard deviation {}", code(&router), options.router_std)),
        ("seed", options.seed.to_string()),
    ]) + &format!("\n\nAll options: {}", code(&serde_json::to_string(&public(manifest)).unwrap_or_default()))
}

/// The options without the folders of this machine.
fn public(manifest: &Manifest) -> serde_json::Value {
    let mut options = serde_json::json!(manifest.options);
    let names = manifest.options.branches.iter().map(|branch| Origin::of(branch).name);
    if !manifest.options.branches.is_empty() {
        options["branches"] = names.collect();
    }
    options
}

/// What a token costs, dense and upcycled.
fn cost(config: &Config, source: &Checkpoint) -> Result<String> {
    let bytes = source.dtype().bitsize() as f64 / 8.0;
    let context = 4096.min(config.max_position_embeddings) as u64;
    let setting = Setting { context, weight_bytes: bytes, cache_bytes: bytes, ..Setting::default() };
    let (dense, moe) = (Account::new(&source.config, setting)?, Account::new(config, setting)?);
    type Read = fn(&Account) -> f64;
    let rows: [(&str, Read); 7] = [
        ("parameters", |account| account.parameters as f64),
        ("active parameters", |account| account.active_parameters as f64),
        ("FLOPs a token, prefill", |account| account.prefill_flops),
        ("FLOPs a token, decode", |account| account.decode_flops),
        ("FLOPs a token, training", |account| account.training_flops),
        ("bytes a token, decode", |account| account.decode_bytes),
        ("bytes of all weights", |account| account.weight_bytes),
    ];
    let row = |(name, read): &(&str, Read)| {
        let (dense, moe) = (read(&dense), read(&moe));
        format!("| {name} | {} | {} | {:.3} |", grouped(dense.round() as u64), grouped(moe.round() as u64), moe / dense)
    };
    let rows = rows.iter().map(row).collect::<Vec<_>>().join("\n");
    let conventions = moe.conventions().iter().map(|line| format!("- {}", escape(line))).collect::<Vec<_>>().join("\n");
    Ok(format!("| | dense source | this model | ratio |\n|---|---:|---:|---:|\n{rows}\n\n{conventions}"))
}

const LOADING: &str = r#"
With transformers, which reads the two Python files of this folder:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH", trust_remote_code=True, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("PATH")
```

With Coppice: `coppice generate --model PATH --prompt "Once upon a time"`.
"#;

fn provenance(origin: &Origin, source: &Checkpoint, manifest: &Manifest) -> String {
    let files = manifest.files.iter().map(|(name, bytes)| format!("{} ({} bytes)", code(name), grouped(*bytes)));
    table(&[
        ("source", escape(&origin.name)),
        ("bytes of the source's weights", grouped(source.file_bytes())),
        ("made by", format!("coppice {}", manifest.version)),
        ("seed", manifest.options.seed.to_string()),
        ("weights", files.collect::<Vec<_>>().join(", ")),
    ]) + &format!(
        "\n\nWhat became of every tensor of the source stands in {}. The source's own card is not copied: see there for its training, \
         intended use and limits.",
        code(MANIFEST)
    )
}

fn table(rows: &[(&str, String)]) -> String {
    let rows = rows.iter().map(|(name, value)| format!("| {name} | {value} |"));
    std::iter::once("| | |\n|---|---|".to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
}
