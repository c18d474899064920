//! Energy of a piece of work: meters are read before it, every so often while it runs, and after it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::Serialize;

use super::meter::{Meter, MeterError, Reading};

/// Time between two readings: counters that begin anew do so in minutes, GPUs renew their power every 20 to 100 ms.
const PAUSE: Duration = Duration::from_millis(50);

/// What the meters showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metered {
    /// What was measured, a name a meter.
    pub meters: Vec<String>,
    /// Energy of all of them, J.
    pub joules: f64,
    /// Time it was measured over, s.
    pub seconds: f64,
}

impl Metered {
    /// Mean power of all meters together, W.
    pub fn watts(&self) -> f64 {
        self.joules / self.seconds
    }
}

/// Runs `work` under `meters`.
pub fn meter_while<T>(meters: Vec<Box<dyn Meter>>, work: impl FnOnce() -> Result<T>) -> Result<(T, Metered)> {
    let names = meters.iter().map(|meter| meter.name()).collect();
    let begin = Instant::now();
    let sums = Mutex::new(meters.into_iter().map(|meter| Sum::begin(meter, begin)).collect::<Result<Vec<_>, _>>()?);
    let done = AtomicBool::new(false);
    let (found, watched) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&sums, &done));
        let found = work();
        done.store(true, Ordering::SeqCst);
        watcher.thread().unpark();
        (found, watcher.join())
    });
    let found = found?;
    watched.map_err(|_| anyhow!("the thread that reads the meters failed"))??;
    let mut sums = sums.into_inner().map_err(|_| anyhow!("the thread that reads the meters failed"))?;
    let now = Instant::now();
    sums.iter_mut().try_for_each(|sum| sum.add(now))?;
    let joules = sums.iter().map(|sum| sum.joules).sum();
    Ok((found, Metered { meters: names, joules, seconds: (now - begin).as_secs_f64() }))
}

/// Reads all meters until the work is done.
fn watch(sums: &Mutex<Vec<Sum>>, done: &AtomicBool) -> Result<(), MeterError> {
    while !done.load(Ordering::SeqCst) {
        thread::park_timeout(PAUSE);
        if let Ok(mut sums) = sums.lock() {
            sums.iter_mut().try_for_each(|sum| sum.add(Instant::now()))?;
        }
    }
    Ok(())
}

/// The energy of one meter so far.
struct Sum {
    meter: Box<dyn Meter>,
    last: Reading,
    at: Instant,
    joules: f64,
}

impl Sum {
    fn begin(mut meter: Box<dyn Meter>, at: Instant) -> Result<Self, MeterError> {
        let last = meter.read()?;
        Ok(Self { meter, last, at, joules: 0.0 })
    }

    /// Adds what was used since the last reading: the counter's difference, or the mean of two readings of power over the time between.
    fn add(&mut self, now: Instant) -> Result<(), MeterError> {
        let reading = self.meter.read()?;
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.joules += match (self.last, reading) {
            (Reading::Joules(before), Reading::Joules(after)) => after - before,
            (Reading::Watts(before), Reading::Watts(after)) => (before + after) / 2.0 * seconds,
            (_, Reading::Watts(watts)) | (Reading::Watts(watts), _) => watts * seconds,
        };
        (self.last, self.at) = (reading, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the readings of a list, the last one again and again.
    struct Scripted(Vec<Reading>);

    impl Meter for Scripted {
        fn name(&self) -> String {
            "scripted".into()
        }

        fn read(&mut self) -> Result<Reading, MeterError> {
            match self.0.len() {
                0 => Err(MeterError::Rapl("gone".into())),
                1 => Ok(self.0[0]),
                _ => Ok(self.0.remove(0)),
            }
        }
    }

    fn metered(readings: Vec<Reading>, seconds: f64) -> Result<((), Metered)> {
        meter_while(vec![Box::new(Scripted(readings))], || {
            thread::sleep(Duration::from_secs_f64(seconds));
            Ok(())
        })
    }

    #[test]
    fn power_is_summed_over_time() {
        let found = metered(vec![Reading::Watts(80.0)], 0.2).unwrap().1;
        assert!(found.seconds >= 0.2 && (found.watts() - 80.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.meters, ["scripted"]);
    }

    #[test]
    fn counters_are_differences() {
        let found = metered(vec![Reading::Joules(1000.0), Reading::Joules(1010.0), Reading::Joules(1024.0)], 0.2).unwrap().1;
        assert!((found.joules - 24.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_meter_that_fails_or_work_that_fails_is_an_error() {
        assert!(metered(Vec::new(), 0.0).unwrap_err().to_string().contains("gone"));
        let failed = meter_while(vec![Box::new(Scripted(vec![Reading::Watts(1.0)]))], || Err::<(), _>(anyhow!("no work")));
        assert!(failed.unwrap_err().to_string().contains("no work"));
    }
}
