//! The detector's part of the page: every score by group of people, and the calibrated verdict in words.

use super::figures::Section;
use super::table::{Cell, Column, Row, Table, number, words};
use crate::Error;
use crate::data::{Calibrated, Coverage, Detector, DetectorScore, Guarantee, Interval};
use crate::plots::{self, BASELINE};
use crate::units::{self, fixed, percent};

/// What the page shows of the detector.
pub(super) struct View {
    /// Sentences on the calibrated verdict.
    pub(super) sentences: Vec<String>,
    /// Its reliability.
    pub(super) picture: Section,
    /// Every score, by group.
    pub(super) table: Table,
    /// What each column compares.
    pub(super) meanings: Vec<(String, String)>,
    /// Scores that could not be computed, and why.
    pub(super) skipped: Vec<(String, String)>,
}

/// The view of a detector.
pub(super) fn view(detector: &Detector) -> Result<View, Error> {
    let calibrated = detector.calibrated.as_ref();
    let drawn = calibrated.map(|calibrated| {
        (plots::reliability_svg(calibrated), "On the diagonal a probability means what it says; larger marks hold more answers.".to_owned())
    });
    let meaning = |group: &crate::data::DetectorGroup| (format!("{} ({})", group.name, group.answers), group.meaning.clone());
    Ok(View {
        sentences: calibrated.map(sentences).unwrap_or_default().into_iter().chain(detector.findings.clone()).collect(),
        picture: Section::collect(String::new(), drawn)?,
        table: table(detector),
        meanings: detector.groups.iter().map(meaning).collect(),
        skipped: detector.skipped.clone(),
    })
}

fn table(detector: &Detector) -> Table {
    let fixed_columns: [Column; 5] = [
        words("score"),
        number("AUROC", "0.5 = chance, 1 = perfect"),
        number("interval", "bootstrap by person, of AUROC"),
        number("PRR", "prediction rejection ratio: 0 = random, 1 = oracle"),
        words("cost"),
    ];
    let mut groups = vec![(String::new(), fixed_columns.len())];
    groups.extend(detector.groups.iter().map(|group| (group.name.clone(), 1)));
    let columns = fixed_columns.into_iter().chain(detector.groups.iter().map(|_| number("AUROC", "against the right headline answers")));
    Table {
        id: "detector",
        caption: "Every score on the judged answers, and how it tells each group's answers from right ones",
        groups,
        columns: columns.collect(),
        rows: detector.scores.iter().map(row).collect(),
    }
}

fn row(score: &DetectorScore) -> Row {
    let baseline = score.score == BASELINE;
    let name = if baseline { format!("{} (baseline)", score.score) } else { score.score.clone() };
    let three = |value: Option<f64>| Cell::number(fixed(value, 3), value);
    let mut cells = vec![
        Cell::words(&name),
        three(score.auroc),
        Cell::number(interval(score.auroc_interval), score.auroc_interval.map(|i| i.low)),
        three(score.prr),
        Cell::words(&score.cost),
    ];
    cells.extend(score.groups.iter().map(|&value| three(value)));
    Row { class: if baseline { "baseline" } else { "" }, cells }
}

fn interval(interval: Option<Interval>) -> String {
    let sound = interval.filter(Interval::is_valid);
    sound.map_or(units::MISSING.to_owned(), |i| format!("{} to {}", fixed(Some(i.low), 3), fixed(Some(i.high), 3)))
}

fn sentences(found: &Calibrated) -> Vec<String> {
    let (people, questions) = found.fitted_on;
    let (others, judged) = found.judged_on;
    let chosen = format!(
        "Chosen and calibrated on {questions} questions about {people} people: {}, by {}. Judged on {judged} questions about {others} other people.",
        found.score, found.method
    );
    let quality = format!(
        "AUROC {} ({}), expected calibration error {} in ten bins of equal mass ({}), Brier score {}. Intervals: 95 %, bootstrap by person.",
        fixed(found.auroc, 3),
        interval(found.auroc_interval),
        fixed(found.ece, 3),
        interval(found.ece_interval),
        fixed(found.brier, 3)
    );
    let promises =
        found.guarantee.iter().flat_map(|made| [promise(made)].into_iter().chain(found.coverage.map(|found| tested(made, &found))));
    [chosen, quality].into_iter().chain(promises).collect()
}

fn promise(promise: &Guarantee) -> String {
    let bound = format!(
        "Promised: at most {} wrong among accepted answers, with confidence {} (n = {})",
        percent(Some(promise.alpha)),
        percent(Some(promise.confidence)),
        promise.n
    );
    match (promise.accepted, promise.wrong_among_accepted) {
        (Some(accepted), Some(wrong)) => {
            let all = percent(promise.wrong_among_all);
            format!(
                "{bound}. Found: {} accepted, {} of them wrong; {all} of all answers are.",
                percent(Some(accepted)),
                percent(Some(wrong))
            )
        }
        _ => format!("{bound}: no answer could be accepted under it."),
    }
}

/// What became of the promises on random partings of the people.
fn tested(promise: &Guarantee, found: &Coverage) -> String {
    let Coverage { partings, people, right_kept, accepted_and_wrong, selective_kept, accepted, .. } = *found;
    let errors = [found.right_kept_error, found.accepted_and_wrong_error].map(|error| fixed(Some(100.0 * error), 1));
    let [kept, alpha, confidence] = [1.0 - promise.alpha, promise.alpha, promise.confidence].map(|share| percent(Some(share)));
    let [right_kept, accepted_and_wrong, selective_kept, accepted] =
        [right_kept, accepted_and_wrong, selective_kept, accepted].map(|share| percent(Some(share)));
    format!(
        "Put to the test on {partings} random partings of the {people} judged people, thresholds from one half, one answer each. Share of right \
         answers below the conformal threshold: promised {kept} or more, found {right_kept} (standard error {} points). Accepted and wrong among all answers: promised \
         {alpha} or less, found {accepted_and_wrong} ({} points). Partings that keep the share wrong among accepted answers within {alpha}: promised \
         {confidence} or more, found {selective_kept}, with {accepted} of the answers accepted on average.",
        errors[0], errors[1]
    )
}
