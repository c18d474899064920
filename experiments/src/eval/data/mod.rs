//! Rows of a data set from a local file, in the formats that public sets come in: JSON lines, CSV, Parquet, plain text; packed with Zstandard or
//! not.

mod csv_file;
mod json_lines;
mod parquet_file;
mod plain_text;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// A row: its columns by name.
pub type Row = Map<String, Value>;

/// A row, or what is wrong with it.
pub type Rows = Vec<Result<Row, String>>;

/// Endings of file names that are tried, in this order.
const ENDINGS: [&str; 7] = [".jsonl", ".jsonl.zst", ".parquet", ".csv", ".csv.zst", ".txt", ".txt.zst"];
/// The largest window that packed files have, as a power of two.
const WINDOW_LOG: u32 = 27;

/// Why a file gives no rows.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No file of that name in any format.
    #[error("no file {} with one of the endings {}", .0.display(), ENDINGS.join(", "))]
    Absent(PathBuf),
    /// The name ends like none of the formats.
    #[error("{}: cannot tell the format by the name; expected one of the endings {}", .0.display(), ENDINGS.join(", "))]
    Format(PathBuf),
    /// The file cannot be read as what its name says.
    #[error("{}: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no row.
    #[error("{} holds no row", .0.display())]
    Empty(PathBuf),
}

/// The file `name` under `folder`: as named, else with one of the endings, else the same without the folders in its name.
///
/// # Errors
/// [`DataError::Absent`].
pub fn find(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    let last = Path::new(name).file_name().map(PathBuf::from).unwrap_or_default();
    let places = [folder.join(name), folder.join(last)];
    let endings = || std::iter::once("").chain(ENDINGS);
    let mut candidates = places.iter().flat_map(|place| endings().map(move |ending| with_ending(place, ending)));
    candidates.find(|path| path.is_file()).ok_or_else(|| DataError::Absent(folder.join(name)))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// All rows of a file. In a plain text, `document` is a regular expression for the first line of a document, each a row with the column
/// `text`.
///
/// # Errors
/// When the file as a whole cannot be read; a row that cannot is an entry with its reason.
pub fn read(path: &Path, document: Option<&str>) -> Result<Rows, DataError> {
    let broken = |why: String| DataError::Broken { path: path.to_path_buf(), why };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let rows = match name.strip_suffix(".zst").unwrap_or(&name).rsplit_once('.').map(|(_, ending)| ending) {
        Some("jsonl") => json_lines::read(&bytes(path).map_err(broken)?),
        Some("csv") => csv_file::read(&bytes(path).map_err(broken)?).map_err(broken)?,
        Some("txt") => plain_text::read(&bytes(path).map_err(broken)?, document).map_err(broken)?,
        Some("parquet") => parquet_file::read(path).map_err(broken)?,
        _ => return Err(DataError::Format(path.to_path_buf())),
    };
    if rows.is_empty() { Err(DataError::Empty(path.to_path_buf())) } else { Ok(rows) }
}

/// The content of a file, unpacked.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let told = |error: std::io::Error| format!("cannot read it: {error}");
    let file = BufReader::new(File::open(path).map_err(told)?);
    if path.extension().is_some_and(|extension| extension == "zst") {
        let mut unpacked = zstd::Decoder::with_buffer(file).map_err(told)?;
        unpacked.window_log_max(WINDOW_LOG).map_err(told)?;
        unpacked.read_to_end(&mut content).map_err(told)?;
    } else {
        { file }.read_to_end(&mut content).map_err(told)?;
    }
    Ok(content)
}
