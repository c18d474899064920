//! Trying again: exponential back-off with jitter, and the wait that the server itself asks for (`Retry-After`, RFC 9110 section 10.2.3).

use std::thread;
use std::time::{Duration, SystemTime};

use rand::RngExt;

use super::error::ServerError;

/// How often and after what pauses a failed question is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first.
    pub retries: usize,
    /// Pause before the first of them; it doubles with every further one.
    pub base: Duration,
    /// Longest pause, also where the server asks for one: a longer wish ends the tries.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { retries: 4, base: Duration::from_millis(500), cap: Duration::from_secs(60) }
    }
}

impl Retry {
    /// Asks until there is an answer, an error that no patience mends, or no try left.
    ///
    /// # Errors
    /// The error of a single try, or [`ServerError::GaveUp`] with the last one.
    pub fn run<T>(&self, mut ask: impl FnMut() -> Result<T, ServerError>) -> Result<T, ServerError> {
        let mut tries = 1;
        loop {
            let error = match ask() {
                Err(error) if error.is_transient() => error,
                answered => return answered,
            };
            match self.pause(tries, &error) {
                Some(pause) => thread::sleep(pause),
                None if tries == 1 => return Err(error),
                None => return Err(ServerError::GaveUp { tries, last: Box::new(error) }),
            }
            tries += 1;
        }
    }

    /// The pause after that many failed tries; `None` to give up. The server's wish is kept to, and is never shortened by the jitter.
    fn pause(&self, tries: usize, error: &ServerError) -> Option<Duration> {
        let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let jittered = self.base.saturating_mul(1 << doublings).min(self.cap).mul_f64(rand::rng().random_range(0.5..=1.0));
        let asked = error.wait().unwrap_or_default();
        (tries <= self.retries && asked <= self.cap).then(|| jittered.max(asked))
    }
}

/// The wait that a `Retry-After` header asks for: whole seconds, or an HTTP date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, wait: Option<Duration>) -> ServerError {
        ServerError::Status { url: "u".into(), status, told: String::new(), wait }
    }

    const QUICK: Retry = Retry { retries: 3, base: Duration::from_millis(1), cap: Duration::from_millis(20) };

    #[test]
    fn tries_until_it_works_and_no_longer_than_allowed() {
        let mut tries = 0;
        let mut at = |works: usize, error: ServerError| {
            tries = 0;
            let result = QUICK.run(|| {
                tries += 1;
                if tries == works { Ok(()) } else { Err(error.clone()) }
            });
            (result.is_ok(), tries)
        };
        assert_eq!(at(3, status(503, None)), (true, 3));
        assert_eq!(at(9, status(429, None)), (false, 4), "one try and three more");
        assert_eq!(at(2, status(400, None)), (false, 1), "no patience mends a bad request");
        assert_eq!(at(2, status(429, Some(Duration::from_secs(3600)))), (false, 1), "nobody waits an hour");
    }

    #[test]
    fn pauses_double_within_the_jitter_and_honour_the_server() {
        let retry = Retry { retries: 9, base: Duration::from_millis(100), cap: Duration::from_secs(1) };
        for _ in 0..50 {
            for (tries, longest) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (9, 1000)] {
                let pause = retry.pause(tries, &status(500, None)).expect("a try is left").as_millis();
                assert!(pause >= longest / 2 && pause <= longest, "{tries}: {pause}");
            }
        }
        assert!(retry.pause(1, &status(429, Some(Duration::from_secs(1)))) >= Some(Duration::from_secs(1)));
        assert_eq!(retry.pause(10, &status(500, None)), None);
    }

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("the example of RFC 9110");
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO), "that moment is past");
        assert_eq!(retry_after("soon", now), None);
    }
}
