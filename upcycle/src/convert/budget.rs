//! A bound on the memory that several threads hold together.

use std::sync::{Condvar, Mutex, PoisonError};

/// Hands out at most so many bytes at once; what is larger by itself gets its turn alone.
pub(crate) struct Budget {
    limit: u64,
    held: Mutex<u64>,
    freed: Condvar,
}

/// Bytes taken from a budget until it is dropped.
pub(crate) struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, held: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `bytes` more can be held.
    pub(crate) fn take(&self, bytes: u64) -> Held<'_> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |held: &mut u64| *held > 0 && held.saturating_add(bytes) > self.limit;
        let mut held = self.freed.wait_while(held, full).unwrap_or_else(PoisonError::into_inner);
        *held += bytes;
        Held { budget: self, bytes }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.budget.held.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn no_more_than_the_limit_is_held_unless_by_one_alone() {
        let (budget, held) = (Budget::new(10), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [4, 7, 25, 3, 10, 1, 6] {
                let (budget, held) = (&budget, &held);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let _taken = budget.take(bytes);
                        let now = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        assert!(now <= 10 || now == bytes, "{now} held at once");
                        held.fetch_sub(bytes, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
