//! Scores a file of records and prints the seconds and the peak memory it took.
//!
//! `cargo run --release -p coppice-detect --example score_records -- --input R.jsonl [--output V.jsonl] [--scores A,B]`

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::time::Instant;

use coppice_detect::scores::{Scorer, find, registry};
use coppice_detect::{Setup, score_case, score_stream};
use serde_json::json;

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn chosen() -> Result<Vec<&'static dyn Scorer>, Box<dyn std::error::Error>> {
    match option("--scores") {
        None => Ok(registry().to_vec()),
        Some(names) => Ok(names.split(',').map(find).collect::<Result<_, _>>()?),
    }
}

/// The most memory this process has held, MiB, where Linux says so.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = option("--input").ok_or("--input R.jsonl is missing")?;
    let scorers = chosen()?;
    let sink: Box<dyn Write> =
        option("--output").map_or(Ok(Box::new(io::sink()) as Box<dyn Write>), |path| File::create(path).map(|file| Box::new(file) as _))?;
    let (mut sink, start) = (BufWriter::new(sink), Instant::now());
    let tally = score_stream(
        BufReader::new(File::open(path)?),
        &Setup::default(),
        |case| score_case(case, &scorers),
        |verdict| -> io::Result<()> {
            match verdict {
                Ok(verdict) => serde_json::to_writer(&mut sink, &verdict)?,
                Err(error) => serde_json::to_writer(&mut sink, &json!({ "id": error.id, "error": error.to_string() }))?,
            }
            sink.write_all(b"\n")
        },
    )?;
    sink.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    let summary =
        json!({ "records": tally.lines, "failed": tally.failed, "scores": scorers.len(), "seconds": seconds, "peak_mib": peak_mib() });
    writeln!(io::stdout(), "{summary}")?;
    Ok(())
}
