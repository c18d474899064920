//! Which layers are converted.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::require;
use crate::convert::error::{ConvertError, Result};

/// Which layers of a model are converted. Indices count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerSelection {
    /// Every layer.
    All,
    /// Every second layer: 1, 3, 5, … The first stays dense; 2212.05055 finds sparsifying it problematic.
    Alternate,
    /// The first so many.
    First(usize),
    /// The last so many.
    Last(usize),
    /// These.
    Indices(Vec<usize>),
}

impl LayerSelection {
    /// The chosen layers of a model of `layers`, ascending.
    ///
    /// # Errors
    /// When none is chosen, one is chosen twice, or one is beyond the last.
    pub fn resolve(&self, layers: usize) -> Result<Vec<usize>> {
        let count = if let Self::First(count) | Self::Last(count) = self { *count } else { 0 };
        require(count <= layers, || format!("layers {self} asks for more than the model's {layers}"))?;
        let mut chosen: Vec<usize> = match self {
            Self::All => (0..layers).collect(),
            Self::Alternate => (1..layers).step_by(2).collect(),
            Self::First(count) => (0..*count).collect(),
            Self::Last(count) => (layers - count..layers).collect(),
            Self::Indices(indices) => indices.clone(),
        };
        chosen.sort_unstable();
        require(!chosen.is_empty(), || format!("layers {self} chooses none of the model's {layers}"))?;
        if let Some(beyond) = chosen.iter().find(|&&layer| layer >= layers) {
            return Err(ConvertError::Options(format!("layer {beyond} is beyond the last, {}", layers - 1)));
        }
        let twice = chosen.windows(2).find(|pair| pair[0] == pair[1]);
        twice.map_or(Ok(()), |pair| Err(ConvertError::Options(format!("layer {} is named twice", pair[0]))))?;
        Ok(chosen)
    }
}

impl FromStr for LayerSelection {
    type Err = ConvertError;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || ConvertError::Options(format!("layers {text:?} is not all, alternate, first:k, last:k or indices such as 0,2,5"));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| bad());
        match (text, text.split_once(':')) {
            ("all", _) => Ok(Self::All),
            ("alternate", _) => Ok(Self::Alternate),
            (_, Some(("first", count))) => number(count).map(Self::First),
            (_, Some(("last", count))) => number(count).map(Self::Last),
            _ => text.split(',').map(number).collect::<Result<_>>().map(Self::Indices),
        }
    }
}

impl fmt::Display for LayerSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Alternate => f.write_str("alternate"),
            Self::First(count) => write!(f, "first:{count}"),
            Self::Last(count) => write!(f, "last:{count}"),
            Self::Indices(indices) => f.write_str(&indices.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl Serialize for LayerSelection {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_read_as_they_print() {
        for (text, chosen) in [
            ("all", vec![0, 1, 2, 3, 4]),
            ("alternate", vec![1, 3]),
            ("first:2", vec![0, 1]),
            ("last:2", vec![3, 4]),
            ("4,0,2", vec![0, 2, 4]),
        ] {
            let selection: LayerSelection = text.parse().unwrap();
            assert_eq!(selection.to_string(), text);
            assert_eq!(selection.resolve(5).unwrap(), chosen);
        }
    }

    #[test]
    fn selections_that_name_no_layer_are_refused() {
        for text in ["", "some", "first", "first:", "last:-1", "1,,2", "1.5", "99999999999999999999"] {
            assert!(text.parse::<LayerSelection>().is_err(), "{text}");
        }
        for text in ["first:0", "first:6", "last:18446744073709551615", "5", "1,1"] {
            assert!(text.parse::<LayerSelection>().unwrap().resolve(5).is_err(), "{text}");
        }
        assert!(LayerSelection::Alternate.resolve(1).is_err());
    }
}
