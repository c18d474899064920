//! A new calibrator in words.

use anyhow::Result;
use coppice_detect::calibration::{Calibrated, Calibrator, Judged, Settings, Threshold};
use coppice_detect::guarantee::Control;
use coppice_detect::metrics::Interval;
use serde_json::json;

use crate::output;

/// Prints it.
pub(super) fn print(found: &Calibrated, settings: &Settings, as_json: bool) -> Result<()> {
    if as_json {
        return output::json(&json!({ "calibrator": found.calibrator, "trials": found.trials, "fitted_on": found.fitted_on }));
    }
    sentences(found, settings).into_iter().try_for_each(output::line)
}

fn sentences(found: &Calibrated, settings: &Settings) -> Vec<String> {
    let Calibrator { score, calibration, thresholds, judged, .. } = &found.calibrator;
    let tried = found.trials.iter().filter(|trial| trial.brier.is_some()).count();
    let mut lines =
        vec![format!("{score} by {}, best of {tried} in cross-validation; fitted on {} answers", calibration.method(), found.fitted_on)];
    lines.extend(judged.as_ref().map(figures));
    lines.push(bound("accept", "at most", ["accepted", "wrong"], thresholds.accept, settings));
    lines.push(bound("flag", "at least", ["flagged", "right"], thresholds.flag, settings));
    lines.extend(judged.as_ref().map(counts));
    lines
}

fn figures(judged: &Judged) -> String {
    let interval = |Interval { estimate, low, high }: Interval| format!("{estimate:.3} [{low:.3}, {high:.3}]");
    let auroc = judged.auroc.map_or("undefined, one class only".to_owned(), interval);
    format!(
        "judged on {} other answers in {} groups, {:.1} % wrong: ECE {}, Brier {}, AUROC {auroc} ({:.0} % intervals)",
        judged.n,
        judged.groups,
        judged.base_rate * 100.0,
        interval(judged.ece),
        interval(judged.brier),
        judged.confidence * 100.0
    )
}

fn bound(what: &str, side: &str, [kept, failed]: [&str; 2], threshold: Option<Threshold>, settings: &Settings) -> String {
    match threshold {
        Some(Threshold { probability, guarantee: Some(guarantee) }) => {
            format!("{what} {side} {probability:.3}: {}", guarantee.describe(kept, failed))
        }
        Some(Threshold { probability, guarantee: None }) => format!("{what} {side} {probability:.3}: chosen by hand, no promise"),
        None => format!("{what} nothing: {}, so a person reviews", reason(failed, settings)),
    }
}

fn reason(failed: &str, settings: &Settings) -> String {
    let percent = settings.alpha * 100.0;
    match settings.control {
        Control::SelectiveRisk => format!(
            "no set of answers can be shown to have at most {percent:.1} % {failed} ones with confidence {:.0} %",
            settings.confidence * 100.0
        ),
        Control::JointRisk => format!("too few answers, or too few left, to bound the share by {percent:.1} %"),
    }
}

fn counts(judged: &Judged) -> String {
    let Judged { accepted, reviewed, flagged, missing, .. } = judged;
    let lacking = if *missing == 0 { String::new() } else { format!("; {missing} more lack the score and go to review") };
    format!(
        "of these, {} accepted ({} wrong), {} to review ({} wrong), {} flagged ({} wrong){lacking}",
        accepted.responses, accepted.wrong, reviewed.responses, reviewed.wrong, flagged.responses, flagged.wrong
    )
}
