//! Records to verdicts in one pass over the input: a window of lines is read, parsed and scored in parallel, and written in order before the next
//! one is read. Memory is that of one window, whatever the number of records; only their ids are kept, to tell repeated ones.

use std::io::BufRead;

use rayon::prelude::*;

use crate::reader::{Ids, RecordError, parse_numbered, read_lines};
use crate::record::Record;
use crate::scores::Case;
use crate::setup::Setup;
use crate::verdict::Verdict;

/// A window closes at this many lines,
const LINES: usize = 512;
/// or this many bytes, so that records with hidden states do not fill the memory.
const BYTES: usize = 16 << 20;

/// How a stream went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines read, bad ones included.
    pub lines: usize,
    /// Lines that were no records.
    pub failed: usize,
}

type Line = (usize, Result<Vec<u8>, RecordError>);

/// Draws the verdict of every record of `input` (JSON lines) and hands verdicts and errors to `write` in the order of the lines. A bad line is an error of its
/// own, as in [`read_records`](crate::reader::read_records), and the lines after it are still scored. Runs in rayon's current thread pool.
///
/// # Errors
/// The first one of `write`, which ends the stream.
pub fn score_stream<E>(
    input: impl BufRead,
    setup: &Setup,
    verdict: impl Fn(&Case<'_>) -> Verdict + Sync,
    mut write: impl FnMut(Result<Verdict, RecordError>) -> Result<(), E>,
) -> Result<Tally, E> {
    let (mut lines, mut ids, mut tally) = (read_lines(input), Ids::default(), Tally::default());
    loop {
        let window = next_window(&mut lines);
        if window.is_empty() {
            return Ok(tally);
        }
        for verdict in score_window(window, &mut ids, setup, &verdict) {
            tally.lines += 1;
            tally.failed += usize::from(verdict.is_err());
            write(verdict)?;
        }
    }
}

fn next_window(lines: &mut impl Iterator<Item = Line>) -> Vec<Line> {
    let (mut window, mut bytes) = (Vec::new(), 0);
    while window.len() < LINES && bytes < BYTES {
        let Some((number, line)) = lines.next() else { break };
        bytes += line.as_ref().map_or(0, Vec::len);
        window.push((number, line));
    }
    window
}

/// Parses in parallel, tells repeated ids in order, scores in parallel.
fn score_window(
    window: Vec<Line>,
    ids: &mut Ids,
    setup: &Setup,
    verdict: &(impl Fn(&Case<'_>) -> Verdict + Sync),
) -> Vec<Result<Verdict, RecordError>> {
    let parse = |(number, line): Line| (number, line.and_then(|line| parse_numbered(number, &line)));
    let parsed: Vec<(usize, Result<Record, RecordError>)> = window.into_par_iter().map(parse).collect();
    let records: Vec<_> = parsed.into_iter().map(|(number, record)| ids.first(number, record)).collect();
    records.into_par_iter().map(|record| record.map(|record| verdict(&Case::with(&record, setup)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores;
    use crate::verdict::{score_case, score_record};
    use std::io::Read;

    fn line(id: usize) -> String {
        format!(r#"{{"id":"{id}","prompt":"p","response":"r{}","samples":[{{"text":"r1"}},{{"text":"r 2"}}]}}"#, id % 3)
    }

    #[test]
    fn verdicts_come_in_order_and_as_one_by_one() {
        let text: String =
            (0..3 * LINES + 7).map(|id| if id % 100 == 50 { "rubbish\n".to_owned() } else { line(id % 1000) + "\n" }).collect();
        let mut found = Vec::new();
        let tally = score_stream(
            text.as_bytes(),
            &Setup::default(),
            |case| score_case(case, scores::registry()),
            |verdict| {
                found.push(verdict.map_err(|error| error.to_string()));
                Ok::<_, ()>(())
            },
        );
        let alone = crate::reader::read_records(text.as_bytes())
            .map(|(_, record)| record.map(|record| score_record(&record, scores::registry())).map_err(|error| error.to_string()));
        assert!(alone.eq(found.iter().cloned()));
        let failed = found.iter().filter(|verdict| verdict.is_err()).count();
        assert!(failed > 500, "repeated ids fail as well");
        assert_eq!(tally, Ok(Tally { lines: 3 * LINES + 7, failed }));
    }

    #[test]
    fn an_error_of_the_writer_ends_the_stream() {
        let (text, mut written) = ((0..5).map(|id| line(id) + "\n").collect::<String>(), 0);
        let stop = score_stream(
            text.as_bytes(),
            &Setup::default(),
            |case| score_case(case, &[]),
            |_| {
                written += 1;
                if written == 2 { Err("the disk is full") } else { Ok(()) }
            },
        );
        assert_eq!((stop, written), (Err("the disk is full"), 2));
    }

    /// An endless file of records that counts what is read of it.
    struct Endless(usize, Vec<u8>);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.1.is_empty() {
                self.0 += 1;
                self.1 = (line(self.0) + "\n").into_bytes();
            }
            let n = self.1.len().min(into.len());
            into[..n].copy_from_slice(&self.1[..n]);
            self.1.drain(..n);
            Ok(n)
        }
    }

    #[test]
    fn a_window_is_written_before_the_next_is_read() {
        let mut endless = Endless(0, Vec::new());
        let mut left = LINES + 1;
        let input = std::io::BufReader::with_capacity(64, &mut endless);
        let ended = score_stream(
            input,
            &Setup::default(),
            |case| score_case(case, &[]),
            |_| {
                left -= 1;
                if left == 0 { Err(()) } else { Ok(()) }
            },
        );
        assert!(ended.is_err() && endless.0 <= 2 * LINES + 2, "{} records read", endless.0);
    }
}
