//! Rows of local files: JSON lines (plain or zstd), a JSON list, CSV with a head, Parquet.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Map, Value};

/// Extensions that are read.
const EXTENSIONS: [&str; 5] = ["jsonl", "jsonl.zst", "json", "csv", "parquet"];
/// Folders in which files are looked for, under the one that was given.
const PLACES: [&str; 3] = ["", "eval", "sharealike/eval"];
/// The most text one compressed file may hold, bytes.
const LIMIT: u64 = 4 << 30;

/// The first file of any of `names` under `folder`.
///
/// # Errors
/// When there is none.
pub fn find(folder: &Path, names: &[String]) -> Result<PathBuf> {
    let candidates = names.iter().flat_map(|name| PLACES.iter().flat_map(move |place| EXTENSIONS.iter().map(move |e| (place, name, e))));
    let mut paths = candidates.map(|(place, name, extension)| folder.join(place).join(format!("{name}.{extension}")));
    let absent = || format!("no file {} ({}) in {}", names.join(" or "), EXTENSIONS.join(", "), folder.display());
    paths.find(|path| path.is_file()).with_context(absent)
}

/// All rows of a file, in order.
///
/// # Errors
/// When the file cannot be read or a row is broken; the sentence names file and line.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    let name = path.to_string_lossy();
    let rows = match EXTENSIONS.iter().rev().find(|extension| name.ends_with(&format!(".{extension}"))) {
        Some(&"parquet") => parquet_rows(path),
        Some(&"csv") => csv_rows(path),
        Some(&"json") => Ok(serde_json::from_slice(&std::fs::read(path)?)?),
        Some(_) => text(path).and_then(|text| json_lines(&text)),
        None => bail!("{name}: expected a file of {}", EXTENSIONS.join(", ")),
    };
    let rows: Vec<Value> = rows.with_context(|| format!("cannot read {name}"))?;
    if rows.is_empty() { Err(anyhow!("{name} has no rows")) } else { Ok(rows) }
}

fn text(path: &Path) -> Result<String> {
    let file = File::open(path)?;
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "zst") {
        zstd::Decoder::new(file)?.take(LIMIT).read_to_string(&mut text)?;
    } else {
        BufReader::new(file).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn json_lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| serde_json::from_str(line).with_context(|| format!("line {} is no JSON", index + 1))).collect()
}

fn csv_rows(path: &Path) -> Result<Vec<Value>> {
    let mut reader = csv::Reader::from_path(path)?;
    let head: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let row = |record: csv::Result<csv::StringRecord>| -> Result<Value> {
        let record = record?;
        let cells = head.iter().cloned().zip(record.iter().map(|cell| Value::String(cell.to_owned())));
        Ok(Value::Object(cells.collect::<Map<_, _>>()))
    };
    reader.records().map(row).collect()
}

fn parquet_rows(path: &Path) -> Result<Vec<Value>> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    reader.get_row_iter(None)?.map(|row| Ok(row?.to_json_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn every_format_gives_the_same_rows() {
        let rows = json!([{ "q": "a \"b\"", "n": "1" }, { "q": "c,\nd", "n": "2" }]);
        let lines = "{\"q\":\"a \\\"b\\\"\",\"n\":\"1\"}\n{\"q\":\"c,\\nd\",\"n\":\"2\"}\n";
        let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
        let table = b"q,n\n\"a \"\"b\"\"\",1\n\"c,\nd\",2\n";
        let list = rows.to_string();
        for (name, bytes) in [("r.jsonl", lines.as_bytes()), ("r.jsonl.zst", &packed), ("r.csv", table), ("r.json", list.as_bytes())] {
            let (folder, path) = written(name, bytes);
            assert_eq!(Value::Array(read(&path).unwrap()), rows, "{name}");
            assert_eq!(find(folder.path(), &["other".into(), "r".into()]).unwrap(), path);
        }
    }

    #[test]
    fn broken_files_are_named_with_the_place() {
        for (name, bytes, told) in [
            ("r.jsonl", b"{}\n{".as_slice(), "line 2 is no JSON"),
            ("r.parquet", b"PAR1 and rubbish", "r.parquet"),
            ("r.jsonl.zst", b"rubbish", "r.jsonl.zst"),
            ("r.csv", b"a,b\n1,2\n3\n", "r.csv"),
            ("r.jsonl", b"", "has no rows"),
        ] {
            let (_folder, path) = written(name, bytes);
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
