//! From records to a table of features: those that lack something are passed over, those that cannot be of one model are named.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::learn::FitError;
use crate::record::{Hidden, Record};
use crate::scores::Missing;

/// Features of the records that have them.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// One row a record, `[n, D]`.
    pub(super) rows: Array2<f64>,
    /// What was read beside each row.
    pub(super) beside: Vec<T>,
}

/// Reads a row, and something beside it, from every record that has both.
///
/// # Errors
/// Fewer than `needed` rows, rows of different lengths, numbers that are not finite.
pub(super) fn table<T>(
    records: &[&Record],
    needed: usize,
    read: impl Fn(&Record) -> Result<(Vec<f64>, T), Missing>,
) -> Result<Table<T>, FitError> {
    let (mut width, mut numbers, mut beside, mut lacking) = (None, Vec::new(), Vec::new(), None);
    for record in records {
        match read(record) {
            Err(missing) => drop(lacking.get_or_insert(missing.to_string())),
            Ok((row, value)) => {
                check(record, &row, *width.get_or_insert(row.len()))?;
                numbers.extend(row);
                beside.push(value);
            }
        }
    }
    let found = beside.len();
    let rows = Array2::from_shape_vec((found, width.unwrap_or(0)), numbers).unwrap_or_default();
    if found < needed { Err(FitError::TooFew { needed, found, lacking }) } else { Ok(Table { rows, beside }) }
}

fn check(record: &Record, row: &[f64], expected: usize) -> Result<(), FitError> {
    let (id, found) = (record.id.clone(), row.len());
    if found != expected {
        return Err(FitError::Width { id, expected, found });
    }
    if row.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(FitError::NotFinite(format!("record `{id}`"))) }
}

/// Whether a record's response is wrong, as what it lacks if nobody said.
pub(super) fn label(record: &Record) -> Result<bool, Missing> {
    record.wrong().ok_or(Missing::Field("label"))
}

/// Both classes of responses are there.
pub(super) fn check_labels(wrong: &[bool]) -> Result<(), FitError> {
    match wrong.first() {
        Some(&first) if wrong.iter().all(|&other| other == first) => {
            Err(FitError::SingleClass { items: wrong.len(), class: if first { "wrong" } else { "right" } })
        }
        _ => Ok(()),
    }
}

/// Which hidden states of a record are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct States {
    /// The layer, from 0.
    pub(super) layer: usize,
    /// The tokens.
    pub(super) place: Place,
}

/// Whose hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// Mean over the answer's tokens.
    Mean,
    /// The answer's last token.
    Last,
    /// The answer's last token but one.
    BeforeLast,
    /// The prompt's last token.
    Prompt,
}

impl Place {
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Mean => "hidden[].mean",
            Self::Last => "hidden[].last",
            Self::BeforeLast => "hidden[].before_last",
            Self::Prompt => "hidden[].prompt",
        }
    }

    fn of(self, hidden: &Hidden) -> &[f32] {
        match self {
            Self::Mean => &hidden.mean,
            Self::Last => &hidden.last,
            Self::BeforeLast => &hidden.before_last,
            Self::Prompt => &hidden.prompt,
        }
    }
}

impl States {
    /// The middle one of the layers that the first record with such states has: in the middle of a model, states tell truth from falsehood
    /// best (Azaria and Mitchell 2023; Kossen et al. 2024).
    ///
    /// # Errors
    /// When no record has such states.
    pub(super) fn middle(records: &[&Record], place: Place) -> Result<Self, FitError> {
        let layers_of = |record: &&Record| {
            let mut layers: Vec<usize> = with_states(record, place).map(|hidden| hidden.layer).collect();
            layers.sort_unstable();
            layers.get(layers.len() / 2).copied()
        };
        let lacking = Some(place.field().to_owned());
        let layer = records.iter().find_map(layers_of).ok_or(FitError::TooFew { needed: 1, found: 0, lacking })?;
        Ok(Self { layer, place })
    }

    /// The states of a record, `[D]`.
    pub(super) fn of(self, record: &Record) -> Result<Vec<f64>, Missing> {
        let mut known = with_states(record, self.place).peekable();
        if known.peek().is_none() {
            return Err(Missing::Field(self.place.field()));
        }
        let found = known.find(|hidden| hidden.layer == self.layer);
        let hidden = found.ok_or(Missing::Layer { field: self.place.field(), layer: self.layer })?;
        Ok(self.place.of(hidden).iter().map(|&x| f64::from(x)).collect())
    }

    /// The same, of the number of dimensions that parameters were fitted on.
    pub(super) fn sized(self, record: &Record, expected: usize) -> Result<Vec<f64>, Missing> {
        let states = self.of(record)?;
        let found = states.len();
        if found == expected { Ok(states) } else { Err(Missing::Width { field: self.place.field(), expected, found }) }
    }
}

impl std::fmt::Display for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of layer {}", self.place.field(), self.layer)
    }
}

fn with_states(record: &Record, place: Place) -> impl Iterator<Item = &Hidden> {
    record.hidden.iter().filter(move |hidden| !place.of(hidden).is_empty())
}
