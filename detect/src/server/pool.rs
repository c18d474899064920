//! A few threads that wait for a server side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// Does `work` on the items 0 to `items` - 1 with at most `threads` of them in progress at once; results come as they are done. Dropping the
/// receiver ends the threads after the item each is at.
pub fn each<R: Send + 'static>(
    items: usize,
    threads: usize,
    work: impl Fn(usize) -> R + Send + Sync + 'static,
) -> mpsc::Receiver<(usize, R)> {
    let (sender, receiver) = mpsc::channel();
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    for _ in 0..threads.clamp(1, items.max(1)) {
        let (sender, work, next) = (sender.clone(), Arc::clone(&work), Arc::clone(&next));
        thread::spawn(move || {
            let mut item = next.fetch_add(1, Ordering::Relaxed);
            while item < items && sender.send((item, work(item))).is_ok() {
                item = next.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_no_more_at_a_time_than_allowed() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (at, peak) = (Arc::clone(&now), Arc::clone(&most));
        let results = each(40, 3, move |item| {
            peak.fetch_max(at.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(2));
            at.fetch_sub(1, Ordering::SeqCst);
            item * item
        });
        let mut done: Vec<(usize, usize)> = results.into_iter().collect();
        done.sort_unstable();
        assert_eq!(done, (0..40).map(|item| (item, item * item)).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(each(0, 3, |item| item).into_iter().count(), 0);
    }
}
