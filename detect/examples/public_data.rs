//! What the public data sets say without a model: `public_data DATA RESULTS.json RESULTS.md`.
//!
//! Reads every data set of the registry from a folder of shared data, and writes labels, base rates, the length baseline, and SelfCheckGPT's
//! protocol on WikiBio, as JSON and as tables.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use coppice_detect::adapters::{ADAPTERS, Item, read};
use coppice_detect::bench::{Area, Level, PublicData, WikiBioRow, public, wikibio};
use serde_json::json;

const NOTE: &str = "Measured on the rows of the shared data, about 60 % of every set, chosen by a hash: figures differ from those of the whole \
                    sets by about one standard error of such a sample. WikiBio: of the 238 passages a replication sampled 119 anew, 10 samples \
                    each instead of 20, and the shared data holds 83 of them.";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, results, tables] = arguments.as_slice() else { return Err("expected: public_data DATA RESULTS.json RESULTS.md".into()) };
    let (mut sets, mut passages) = (Vec::new(), Vec::new());
    for adapter in ADAPTERS {
        let (good, bad): (Vec<_>, Vec<_>) = read(adapter, &Path::new(data).join(adapter.file))?.into_iter().partition(Result::is_ok);
        let items: Vec<Item> = good.into_iter().flatten().collect();
        sets.push(public(adapter, &items, bad.len(), 0));
        if adapter.name == "selfcheck_wikibio" {
            passages = wikibio(&items, 0)?;
        }
    }
    std::fs::write(results, format!("{:#}\n", json!({ "note": NOTE, "data": sets, "selfcheck_wikibio": passages })))?;
    std::fs::write(tables, markdown(&sets, &passages)?)?;
    Ok(())
}

fn markdown(sets: &[PublicData], passages: &[WikiBioRow]) -> Result<String, std::fmt::Error> {
    let mut text = format!("# Public data without a model\n\n{NOTE}\n\n## SelfCheckGPT's protocol on WikiBio\n\n");
    text.push_str("Areas under the precision-recall curve (trapezoidal, as published) and correlations of passages, in %; published figures of the \
                   whole set in brackets. The recorded scores came with the data: BERTScore, NLI and a prompted model on the same samples.\n\n");
    text.push_str("| score | NonFact (95 % interval) | NonFact* | Factual | Pearson | Spearman |\n|---|---|---|---|---|---|\n");
    passages.iter().try_for_each(|row| passage_row(&mut text, row))?;
    if let Some(row) = passages.first() {
        let [a, b, c] = [row.measured.non_fact, row.measured.non_fact_star, row.measured.factual]
            .map(|Area { base_rate, n, .. }| (percent(base_rate), n));
        writeln!(
            text,
            "| chance (base rate; sentences) | {} ({}) [73.0] | {} ({}) [29.7] | {} ({}) [27.0] | – | – |",
            a.0, a.1, b.0, b.1, c.0, c.1
        )?;
    }
    text.push_str("\n## Labels and the length baseline\n\n");
    text.push_str("AUROC of the length in characters, wrong against right, with a 95 % interval over prompts.\n\n");
    text.push_str("| data | unit | labelled | wrong | AUROC of length | AUC-PR of length |\n|---|---|---|---|---|---|\n");
    for set in sets {
        set.levels.iter().try_for_each(|level| level_row(&mut text, &set.name, level))?;
    }
    text.push_str("\n## Questions to be answered by a model\n\n| data | questions |\n|---|---|\n");
    sets.iter().filter(|set| set.questions > 0).try_for_each(|set| writeln!(text, "| {} | {} |", set.name, set.questions))?;
    Ok(text)
}

fn passage_row(text: &mut String, row: &WikiBioRow) -> std::fmt::Result {
    let published = |index: usize| row.published.map_or(String::new(), |figures| format!(" [{}]", percent(figures[index])));
    let (found, interval) = (&row.measured, &row.non_fact_interval);
    let bounds = format!("{} to {}", percent(interval.low), percent(interval.high));
    write!(
        text,
        "| `{}` | {} ({bounds}){} | {} ",
        row.score,
        percent(found.non_fact.auc_pr),
        published(0),
        percent(found.non_fact_star.auc_pr)
    )?;
    write!(text, "| {}{} | {}{} ", percent(found.factual.auc_pr), published(1), percent(found.pearson), published(2))?;
    writeln!(text, "| {} |", percent(found.spearman))
}

fn level_row(text: &mut String, name: &str, level: &Level) -> std::fmt::Result {
    let auroc = level.length_auroc.map_or("–".to_owned(), |i| format!("{:.3} ({:.3} to {:.3})", i.estimate, i.low, i.high));
    let auc_pr = level.length_auc_pr.map_or("–".to_owned(), |area| format!("{area:.3}"));
    writeln!(text, "| {name} | {} | {} | {} % | {auroc} | {auc_pr} |", level.unit, level.n, percent(level.base_rate))
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
