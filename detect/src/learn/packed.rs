//! Long lists of numbers in JSON: base64 of little-endian floats, half the size of their decimals and exact.
//!
//! To be named in `#[serde(with = "…")]`: [`f64s`] where a last digit may matter (a factor of an ill-conditioned covariance), [`f32s`] for
//! weights of networks, which are rounded to `f32` when their training ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// A list of `f64`, eight bytes a number.
pub mod f64s {
    use super::{Deserializer, Serializer, decode, encode};

    /// As base64 of eight bytes a number.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        encode(values.iter().map(|value| value.to_le_bytes()), to)
    }

    /// Back again.
    ///
    /// # Errors
    /// What is no base64, no multiple of eight bytes, or holds a number that is not finite.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        decode(from, f64::from_le_bytes)
    }
}

/// A list of `f64` that have the precision of `f32`, four bytes a number.
pub mod f32s {
    use super::{Deserializer, Serializer, decode, encode};

    /// As base64 of four bytes a number.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        encode(values.iter().map(|&value| (value as f32).to_le_bytes()), to)
    }

    /// Back again.
    ///
    /// # Errors
    /// What is no base64, no multiple of four bytes, or holds a number that is not finite.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        decode(from, |bytes| f64::from(f32::from_le_bytes(bytes)))
    }
}

fn encode<const N: usize, S: Serializer>(numbers: impl Iterator<Item = [u8; N]>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(numbers.flatten().collect::<Vec<u8>>()))
}

fn decode<'de, const N: usize, D: Deserializer<'de>>(from: D, number: impl Fn([u8; N]) -> f64) -> Result<Vec<f64>, D::Error> {
    let text = String::deserialize(from)?;
    let bytes = STANDARD.decode(text).map_err(|error| D::Error::custom(format!("a list of numbers is no base64: {error}")))?;
    let (numbers, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(D::Error::custom(format!("a list of {N}-byte numbers has {} bytes", bytes.len())));
    }
    let values: Vec<f64> = numbers.iter().map(|&bytes| number(bytes)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(D::Error::custom(format!("number {index} of a list is not finite"))),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lists {
        #[serde(with = "super::f64s")]
        exact: Vec<f64>,
        #[serde(with = "super::f32s")]
        short: Vec<f64>,
    }

    #[test]
    fn numbers_come_back_as_they_went() {
        let lists = Lists { exact: vec![0.1, -1e300, 0.0], short: vec![0.5, f64::from(0.1f32)] };
        let written = serde_json::to_string(&lists).expect("plain data");
        assert_eq!(serde_json::from_str::<Lists>(&written).expect("as written"), lists);
        assert_eq!(serde_json::to_value(&lists).expect("plain data")["short"], "AAAAP83MzD0=");
    }

    #[test]
    fn what_is_no_list_is_explained() {
        let complaint =
            |exact: &str| serde_json::from_str::<Lists>(&format!(r#"{{"exact":"{exact}","short":""}}"#)).expect_err("damaged").to_string();
        assert!(complaint("&").contains("no base64"), "{}", complaint("&"));
        assert!(complaint("AAAAP83MzD0A").contains("8-byte numbers has 9 bytes"), "{}", complaint("AAAAP83MzD0A"));
        assert!(complaint("AAAAAAAA8H8=").contains("number 0 of a list is not finite"), "{}", complaint("AAAAAAAA8H8="));
    }
}
