//! Several threads at one file: each takes the next tensor in file order, so that the disk is met nearly in sequence.
//!
//! Every tensor is written at its own place, so the bytes do not depend on how many threads there are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::error::{ConvertError, Result};
use super::shards::Shard;
use super::stream::{Place, Stream, Written};
use crate::writer::SafetensorsWriter;

/// The work on one file.
struct Crew<'a, 'b> {
    shard: &'b Shard<'a>,
    stream: &'b Stream<'a>,
    file: &'b SafetensorsWriter,
    next: AtomicUsize,
    failed: AtomicBool,
    errors: Mutex<Vec<(usize, ConvertError)>>,
}

/// Writes all tensors of a file by `jobs` threads; `progress` is called on this one, a chunk at a time.
///
/// # Errors
/// That of the first tensor, in file order, that failed by itself.
pub(crate) fn write<'a>(
    shard: &Shard<'a>,
    stream: &Stream<'a>,
    file: &SafetensorsWriter,
    jobs: usize,
    progress: &mut dyn FnMut(Written),
) -> Result<()> {
    let (next, failed, errors) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::default());
    let crew = Crew { shard, stream, file, next, failed, errors };
    // Without room, a thread waits until its chunk was told: what `progress` decides is known before the next chunk.
    let (told, heard) = sync_channel(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(shard.steps.len()) {
            let (crew, told) = (&crew, told.clone());
            scope.spawn(move || crew.work(&told));
        }
        drop(told);
        heard.into_iter().for_each(progress);
    });
    first(crew.errors.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Crew<'_, '_> {
    /// Takes tensors until none is left or one failed.
    fn work(&self, told: &SyncSender<Written>) {
        while !self.failed.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = self.shard.steps.get(index) else { return };
            let place = Place { file: self.file, index, header: &step.header, told };
            if let Err(error) = self.stream.step(step, place) {
                self.failed.store(true, Ordering::Relaxed);
                self.errors.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
            }
        }
    }
}

/// The first error in file order, an interruption last of all.
fn first(mut errors: Vec<(usize, ConvertError)>) -> Result<()> {
    errors.sort_by_key(|(index, error)| (matches!(error, ConvertError::Interrupted), *index));
    errors.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}
