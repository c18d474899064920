//! A report as one self-contained HTML page: inline pictures, style and a small script for sorting and filtering.
//!
//! The page asks nothing of the network. The template escapes every text that comes from data; only the pictures
//! (which escape theirs), the style sheet and the script go in as they are.

mod detector;
mod expert_tables;
mod expert_words;
mod experts;
mod figures;
mod flagged;
mod methods;
mod table;
mod tables;

use askama::Template;

use crate::Error;
use crate::data::{ExpertReport, Report};
use experts::{ArmExperts, View};
use figures::Section;
use flagged::Answer;
use table::Table;

/// The page's style sheet.
const STYLE: &str = include_str!("../../templates/style.css");
/// The page's script.
const SCRIPT: &str = include_str!("../../templates/page.js");

/// The page's template with everything it shows.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'r> {
    report: &'r Report,
    style: &'static str,
    script: &'static str,
    quality: Section,
    more_quality: Section,
    knowledge: Section,
    detection: Vec<Section>,
    detector: Option<detector::View>,
    training: Section,
    load: Section,
    experts: Vec<ArmExperts<'r>>,
    methods: Table,
    methods_picture: Section,
    methods_summaries: Vec<(String, String)>,
    arms: Table,
    differences: Table,
    checks: Table,
    groups: Table,
    scores: Table,
    stages: Table,
    answers: Vec<Answer<'r>>,
}

/// The whole page of a report.
///
/// Parts the report does not have are named as missing. Any text may be hostile: it is shown, never interpreted.
///
/// # Errors
/// [`Error::Draw`] or [`Error::Template`] where a picture or the page cannot be written.
pub fn render_html(report: &Report) -> Result<String, Error> {
    let page = Page {
        report,
        style: STYLE,
        script: SCRIPT,
        quality: figures::quality(report)?,
        more_quality: figures::more_quality(report)?,
        knowledge: figures::knowledge(report)?,
        detection: figures::detection(report)?,
        detector: report.detector.as_ref().map(detector::view).transpose()?,
        training: figures::training(report)?,
        load: figures::load(report)?,
        experts: experts::arms(&report.experts)?,
        methods: methods::table(report),
        methods_picture: methods::picture(report)?,
        methods_summaries: methods::summaries(report),
        arms: tables::arms(report),
        differences: tables::differences(report),
        checks: tables::checks(report),
        groups: tables::groups(report),
        scores: tables::scores(report),
        stages: tables::stages(report),
        answers: flagged::answers(report),
    };
    Ok(page.render()?)
}

/// The template of a page about one model's experts.
#[derive(Template)]
#[template(path = "experts_page.html")]
struct ExpertsPage<'r> {
    view: View<'r>,
    style: &'static str,
    script: &'static str,
}

/// A page about one model's experts alone, the same section that the page of a run has.
///
/// # Errors
/// [`Error::Draw`] or [`Error::Template`] where a picture or the page cannot be written.
pub fn render_experts_html(report: &ExpertReport) -> Result<String, Error> {
    let page = ExpertsPage { view: experts::whole(report)?, style: STYLE, script: SCRIPT };
    Ok(page.render()?)
}

/// The template of a page about hallucination scores alone.
#[derive(Template)]
#[template(path = "detection_page.html")]
struct DetectionPage<'r> {
    report: &'r Report,
    style: &'static str,
    script: &'static str,
    detection: Vec<Section>,
    scores: Table,
}

/// A page of a report's title, summary, curves and table of scores, and of its notes as the scores that have no row.
///
/// # Errors
/// [`Error::Draw`] or [`Error::Template`] where a picture or the page cannot be written.
pub fn render_detection_html(report: &Report) -> Result<String, Error> {
    let (detection, scores) = (figures::detection(report)?, tables::scores(report));
    let page = DetectionPage { report, style: STYLE, script: SCRIPT, detection, scores };
    Ok(page.render()?)
}

/// The name to show for an arm: its label where the report lists it, else its name.
fn shown<'r>(report: &'r Report, arm: &'r str) -> &'r str {
    report.arms.iter().find(|listed| listed.name == arm).map_or(arm, |listed| listed.shown())
}
