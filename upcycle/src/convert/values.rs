//! Element types: whether values are finite, and one type's bytes as another's.

use coppice_models::checkpoint::kind_of;
use safetensors::Dtype;
use tch::Tensor;

use super::error::Result;

/// Whether no element has all exponent bits set, the mark of NaN and infinity in every IEEE-like type.
pub(crate) fn all_finite(bytes: &[u8], dtype: Dtype) -> bool {
    let halves = |mask: u16| {
        let special = |element: &[u8]| u16::from_le_bytes([element[0], element[1]]) & mask == mask;
        !bytes.chunks_exact(2).fold(false, |found, element| found | special(element))
    };
    match dtype {
        Dtype::F16 => halves(0x7C00),
        Dtype::BF16 => halves(0x7F80),
        _ => {
            const MASK: u32 = 0x7F80_0000;
            let special = |e: &[u8]| u32::from_le_bytes([e[0], e[1], e[2], e[3]]) & MASK == MASK;
            !bytes.chunks_exact(4).fold(false, |found, element| found | special(element))
        }
    }
}

/// Elements in another type, little-endian.
pub(crate) fn converted(bytes: &[u8], from: Dtype, to: Dtype) -> Result<Vec<u8>> {
    let count = (bytes.len() * 8 / from.bitsize()) as i64;
    encode(&Tensor::f_from_data_size(bytes, &[count], kind_of(from)?)?, to)
}

/// A tensor's elements in type `to`, little-endian.
pub(crate) fn encode(tensor: &Tensor, to: Dtype) -> Result<Vec<u8>> {
    let tensor = tensor.f_to_kind(kind_of(to)?)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * to.bitsize() / 8];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn the_scan_agrees_with_is_finite_on_every_sixteen_bit_pattern() {
        for bits in 0..=u16::MAX {
            assert_eq!(all_finite(&bits.to_le_bytes(), Dtype::F16), f16::from_bits(bits).is_finite());
            assert_eq!(all_finite(&bits.to_le_bytes(), Dtype::BF16), bf16::from_bits(bits).is_finite());
        }
        for value in [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(all_finite(&value.to_le_bytes(), Dtype::F32), value.is_finite());
        }
    }

    #[test]
    fn conversion_rounds_as_the_half_crate_does() {
        let values: Vec<f32> = (0..1000).map(|i| (f64::from(i) * 0.37 - 100.0).exp2() as f32 * 1e10).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let expected: Vec<u8> = values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
        assert_eq!(converted(&bytes, Dtype::F32, Dtype::BF16).unwrap(), expected);
    }
}
