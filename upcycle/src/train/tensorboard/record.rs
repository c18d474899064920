//! The framing of TFRecord files: length, checksum of the length, data, checksum of the data
//! (`tensorflow/core/lib/io/record_writer.cc`). Checksums are CRC-32C, rotated and shifted so that a checksum of data that holds checksums
//! is sound.

/// Added to a rotated checksum.
const MASK_DELTA: u32 = 0xa282_ead8;

/// The bytes of `data` as one record.
pub fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()];
    parts.concat()
}

fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard_before_it_is_masked() {
        // RFC 3720, appendix B.4: 32 bytes of zeros.
        let unmasked = masked(&[0; 32]).wrapping_sub(MASK_DELTA).rotate_left(15);
        assert_eq!(unmasked, 0x8a91_36aa);
    }

    #[test]
    fn a_record_is_sixteen_bytes_longer_than_its_data() {
        let record = framed(b"abc");
        assert_eq!((record.len(), &record[..8], &record[12..15]), (19, &[3, 0, 0, 0, 0, 0, 0, 0][..], &b"abc"[..]));
    }
}
