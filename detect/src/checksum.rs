//! A checksum over a file of JSON, kept in the file itself: what was changed or cut afterwards is not taken for what was written.

use serde::Serialize;
use serde_json::Value;

const FIELD: &str = "checksum";

/// The JSON of a value with its checksum.
///
/// # Errors
/// When JSON cannot hold the value.
pub(crate) fn sealed(value: &impl Serialize) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(value)?;
    let checksum = Value::String(checksum(&value));
    if let Some(fields) = value.as_object_mut() {
        fields.insert(FIELD.to_owned(), checksum);
    }
    Ok(value)
}

/// Takes the checksum out; whether it is that of the rest. A file that has none was written by hand and is taken as it is.
pub(crate) fn unseal(value: &mut Value) -> bool {
    let told = value.as_object_mut().and_then(|fields| fields.remove(FIELD));
    told.is_none_or(|told| told == checksum(value))
}

/// Sixteen hexadecimal digits.
fn checksum(value: &Value) -> String {
    format!("{:016x}", fnv(value.to_string().bytes()))
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
pub(crate) fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_seen_and_no_checksum_is_none() {
        let whole = json!({ "b": [0.1, 2.5e-17], "a": "x" });
        let mut kept: Value = serde_json::from_str(&sealed(&whole).unwrap().to_string()).unwrap();
        assert!(unseal(&mut kept) && kept == whole);
        let mut changed = sealed(&whole).unwrap();
        changed["a"] = json!("y");
        assert!(!unseal(&mut changed));
        assert!(unseal(&mut whole.clone()));
    }
}
