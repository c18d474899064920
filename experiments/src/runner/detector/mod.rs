//! One detector through its whole life, on the pre-trained model: learned scores are fitted on some people, a score and its calibration are
//! chosen on others, and the rest judges them, exposure by exposure and on what the text told falsely.

mod calibrated;
mod coverage;
mod exact;
mod parting;
mod scored;
mod table;
mod wordings;

use std::path::Path;

use anyhow::{Context, Result};
use coppice_models::config::Config;
use coppice_models::fs::write_atomic;
use coppice_models::sampling::Sampling;
use coppice_reports::data::{Detector, DetectorScore};

use self::scored::Scored;
use super::questions::is_headline;
use super::recipe::{DetectRecipe, DetectorRecipe};
use crate::answering::{Settings, TraceKind};

pub use scored::run as ask;

/// Prompts decoded side by side.
const PROMPTS_AT_A_TIME: usize = 60;
/// Alternatives kept of every token.
const TOP_LOGPROBS: usize = 5;
const FOUND: &str = "detector.json";
/// Self-consistency as such: how the samples spread over meanings.
const SELF_CONSISTENCY: &str = "discrete_semantic_entropy";

/// How the detector's questions are answered, and what the answers leave.
pub fn settings(answers: &DetectRecipe, recipe: &DetectorRecipe, config: &Config) -> Settings {
    let middle = || vec![config.num_hidden_layers / 2];
    Settings {
        name: "pre-trained model".to_owned(),
        samples: answers.samples,
        max_new_tokens: answers.max_new_tokens,
        sampling: Sampling { temperature: answers.temperature, ..Sampling::default() },
        seed: answers.seed,
        stop: Vec::new(),
        stop_ids: config.eos_token_ids.clone(),
        banned_ids: Vec::new(),
        begin: config.bos_token_id,
        top_logprobs: TOP_LOGPROBS,
        traces: vec![TraceKind::All],
        hidden_layers: if recipe.hidden_layers.is_empty() { middle() } else { recipe.hidden_layers.clone() },
        prompts_at_a_time: PROMPTS_AT_A_TIME,
    }
}

/// Judges the scores of a finished stage of answers; keeps the findings and the calibrator.
pub fn judge(answers: &Path, recipe: &DetectorRecipe, resamples: usize, folder: &Path) -> Result<()> {
    let scored = scored::read(answers)?;
    let unseen: Vec<&Scored> = scored.iter().filter(|answer| !answer.fitted_on).collect();
    let headline: Vec<&Scored> = unseen.iter().copied().filter(|answer| is_headline(&answer.question)).collect();
    let mut found = table(&unseen, recipe, resamples);
    found.findings = findings(&found);
    match calibrated::calibrated(&headline, recipe, resamples) {
        Ok((calibrator, calibrated)) => {
            write_atomic(folder.join("calibrator.json"), calibrator.to_json()?.as_bytes())?;
            found.calibrated = Some(calibrated);
        }
        Err(error) => found.findings.insert(0, format!("These answers allow no calibrated verdict: {error:#}.")),
    }
    Ok(write_atomic(folder.join(FOUND), serde_json::to_string(&found)?.as_bytes())?)
}

fn table(unseen: &[&Scored], recipe: &DetectorRecipe, resamples: usize) -> Detector {
    let columns = table::columns(unseen);
    let (scores, skipped) = table::rows(unseen, &columns, resamples, recipe.seed);
    let groups = columns.into_iter().map(|column| column.group).collect();
    Detector { arm: "pre-trained model".to_owned(), groups, scores, skipped, ..Detector::default() }
}

/// The findings of a finished stage.
pub fn read(folder: &Path) -> Result<Detector> {
    let path = folder.join(FOUND);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Which score to trust here, and where self-consistency is blind.
fn findings(found: &Detector) -> Vec<String> {
    let best = |cost: &str| found.scores.iter().find(|row| row.cost == cost && row.score != "length");
    let costs = ["one pass", "samples", "samples, comparing model"];
    let named = |row: &DetectorScore| format!("{} ({:.3})", row.score, row.auroc.unwrap_or(f64::NAN));
    let list: Vec<String> = costs.iter().filter_map(|cost| best(cost).map(|row| format!("of {cost} {}", named(row)))).collect();
    let trust = format!("Highest AUROC {}.", list.join(", "));
    let trust = (!list.is_empty()).then_some(trust);
    trust.into_iter().chain(blind(found)).collect()
}

fn blind(found: &Detector) -> Option<String> {
    let row = found.scores.iter().find(|row| row.score == SELF_CONSISTENCY)?;
    let of = |name: &str| found.groups.iter().position(|group| group.name == name).and_then(|place| row.groups[place]);
    let (never, falsehoods) = (of("never told")?, of(table::FALSEHOOD)?);
    Some(format!(
        "Self-consistency is blind to what was learnt wrong: {SELF_CONSISTENCY} tells made-up answers about people never told of from right \
         ones with AUROC {never:.3}, falsehoods the text told consistently with {falsehoods:.3} (0.5 = not at all)."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coppice_models::fs::Existing;
    use coppice_upcycle::world::{ExposureLevel, Group, World, WorldConfig};

    /// Answers whose score is their chance of being wrong; a falsehood looks like what is known.
    fn answers() -> Vec<Scored> {
        let level = |(exposures_per_pass, people)| ExposureLevel { exposures_per_pass, people };
        let levels = [(0, 60), (5, 200)].map(level).to_vec();
        let world = World::generate(WorldConfig { levels, passes: 1, passers_by_per_pass: 0, ..WorldConfig::default() }).unwrap();
        wordings::questions(&world, 1).iter().enumerate().map(|(place, question)| scored::made_up(question, place)).collect()
    }

    fn judged(answers: &[Scored]) -> Detector {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        crate::jsonl::write(&from.path().join("scored.jsonl"), Existing::Refuse, answers).unwrap();
        judge(from.path(), &DetectorRecipe { partings: 50, alpha: 0.2, ..DetectorRecipe::default() }, 100, to.path()).unwrap();
        read(to.path()).unwrap()
    }

    #[test]
    fn probabilities_come_true_and_falsehoods_stay_unseen() {
        let answers = answers();
        let found = judged(&answers);
        let calibrated = found.calibrated.as_ref().unwrap();
        assert!(calibrated.ece.unwrap() < 0.1 && calibrated.coverage.unwrap().selective_kept >= 0.9, "{calibrated:?}");
        let (row, of) = (&found.scores[0], |name: &str| found.groups.iter().position(|group| group.name == name).unwrap());
        assert_eq!(row.score, SELF_CONSISTENCY);
        assert!(row.groups[of("never told")].unwrap() > 0.9 && (row.groups[of(table::FALSEHOOD)].unwrap() - 0.5).abs() < 0.1, "{row:?}");
        assert!(found.findings.iter().any(|finding| finding.contains("blind")), "{:?}", found.findings);
        assert!(answers.iter().any(|answer| answer.question.group == Group::Wrong && answer.told));
    }

    #[test]
    fn answers_that_are_all_wrong_are_said_to_allow_no_verdict() {
        let wrong: Vec<Scored> = answers().into_iter().map(|answer| Scored { wrong: true, ..answer }).collect();
        let found = judged(&wrong);
        assert!(found.calibrated.is_none() && found.scores.is_empty(), "{found:?}");
        assert!(found.findings[0].starts_with("These answers allow no calibrated verdict: "), "{:?}", found.findings);
    }
}
