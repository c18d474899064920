//! A labelled response, and the labelled parts of it.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// A response to judge, or a question to answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    /// The response and, where people judged it as a whole, its label. Empty response: a question to be answered, `reference` the right answers.
    pub record: Record,
    /// Its judged parts.
    pub units: Vec<Unit>,
    /// Who judged it, where a data set has several annotators for one response.
    pub annotator: Option<String>,
}

/// A part of a response that was judged by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// What kind of part.
    pub kind: Kind,
    /// Its words; a claim need not stand in the response literally.
    pub text: String,
    /// 1 = wrong, 0 = right, absent = not decided.
    pub label: Option<u8>,
    /// How wrong, 0 to 1, where the data set has more than two grades.
    pub grade: Option<f64>,
}

/// What kind of part a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A sentence of the response.
    Sentence,
    /// A fact that the response asserts, in words of its own.
    Claim,
    /// Characters of the response.
    Span,
}

impl Item {
    /// A record of the data set.
    pub(super) fn new(data: &str, row: impl std::fmt::Display, prompt: impl Into<String>, response: impl Into<String>) -> Self {
        let record = Record { id: format!("{data}/{row}"), prompt: prompt.into(), response: response.into(), ..Record::default() };
        Self { record, ..Self::default() }
    }

    /// A question with its right answers.
    pub(super) fn question(data: &str, row: impl std::fmt::Display, question: String, answers: Vec<String>) -> Self {
        let mut item = Self::new(data, row, question, "");
        item.record.reference = answers;
        item
    }

    /// With a label: whether the response is wrong, if that was decided.
    pub(super) fn labelled(mut self, wrong: Option<bool>) -> Self {
        self.record.label = wrong.map(u8::from);
        self
    }

    /// With what else the data set knows.
    pub(super) fn with_source(mut self, source: serde_json::Value) -> Self {
        self.record.source = Some(source);
        self
    }

    /// With judged parts.
    pub(super) fn with_units(mut self, units: impl IntoIterator<Item = Unit>) -> Self {
        self.units.extend(units);
        self
    }

    /// Whether a model has yet to answer it.
    pub fn is_question(&self) -> bool {
        self.record.response.is_empty()
    }

    /// The units of a kind as records, each beside the prompt and samples of the whole: `id/kind/number`.
    pub fn unit_records(&self, kind: Kind) -> impl Iterator<Item = Record> {
        self.units.iter().filter(move |unit| unit.kind == kind).enumerate().map(move |(number, unit)| Record {
            id: format!("{}/{}/{number}", self.record.id, kind.name()),
            prompt: self.record.prompt.clone(),
            response: unit.text.clone(),
            samples: self.record.samples.clone(),
            label: unit.label,
            ..Record::default()
        })
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Sentence, Self::Claim, Self::Span];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sentence => "sentence",
            Self::Claim => "claim",
            Self::Span => "span",
        }
    }

    /// A part of this kind, wrong or right or undecided.
    pub(super) fn unit(self, text: impl Into<String>, wrong: Option<bool>) -> Unit {
        Unit { kind: self, text: text.into(), label: wrong.map(u8::from), grade: None }
    }

    /// A part of this kind with a grade; wrong from one half on.
    pub(super) fn graded(self, text: impl Into<String>, grade: f64) -> Unit {
        Unit { grade: Some(grade), ..self.unit(text, Some(grade >= 0.5)) }
    }
}
