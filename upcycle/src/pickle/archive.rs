//! The zip archive around a program: where its stored entries lie in the file. Everything that would let two readers see two archives, or
//! a small file hold a large one, is refused: entries that are compressed, encrypted, named twice, cut off or overlapping.

use std::collections::HashMap;
use std::io::{self, Cursor};
use std::ops::Range;

use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// An entry's bytes, as a range of the file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) bytes: Range<usize>,
    index: usize,
}

/// Every entry of an archive by its name.
pub(super) fn entries(file: &[u8]) -> Result<HashMap<String, Entry>, String> {
    let mut archive = open(file)?;
    if archive.has_duplicate_names() {
        return Err("two entries have one name".into());
    }
    if archive.has_overlapping_entries().map_err(said)? {
        return Err("entries overlap".into());
    }
    (0..archive.len()).map(|index| entry(&archive.by_index_raw(index).map_err(said)?, index, file.len())).collect()
}

/// Reads an entry against its checksum.
pub(super) fn verify(file: &[u8], entry: &Entry) -> Result<(), String> {
    let mut archive = open(file)?;
    let mut stored = archive.by_index(entry.index).map_err(said)?;
    io::copy(&mut stored, &mut io::sink()).map(drop).map_err(|error| error.to_string())
}

fn open(file: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, String> {
    ZipArchive::new(Cursor::new(file)).map_err(said)
}

fn said(error: ZipError) -> String {
    error.to_string()
}

fn entry(stored: &ZipFile<'_, Cursor<&[u8]>>, index: usize, length: usize) -> Result<(String, Entry), String> {
    let name = stored.name().map_err(said)?.into_owned();
    let plain = stored.compression() == CompressionMethod::Stored && !stored.encrypted() && stored.size() == stored.compressed_size();
    if !plain {
        return Err(format!("entry {name:?} is compressed or encrypted, torch.save stores its entries as they are"));
    }
    let start = stored.data_start().ok_or_else(|| format!("entry {name:?} has no place"))?;
    let end = start.checked_add(stored.size()).filter(|&end| end <= length as u64);
    let end = end.ok_or_else(|| format!("entry {name:?} goes beyond the end of the file"))?;
    Ok((name, Entry { bytes: start as usize..end as usize, index }))
}
