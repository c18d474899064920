//! A judge that remembers: records of one data set repeat sentences, and a model's judgement is dear.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Entailment, Judgement};
use crate::similarity::BackendError;

type Pair = (Box<str>, Box<str>);

/// Another judge, asked once for each pair while the pair is remembered.
#[derive(Debug)]
pub struct Cached {
    judge: Box<dyn Entailment>,
    memory: Mutex<Memory>,
}

impl Cached {
    /// Remembers pairs of texts of at most `bytes` bytes together.
    pub fn new(judge: Box<dyn Entailment>, bytes: usize) -> Self {
        Self { judge, memory: Mutex::new(Memory { half: bytes / 2, ..Memory::default() }) }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        // A judgement is stored whole or not at all: memory that another thread left in a panic is still sound.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entailment for Cached {
    fn name(&self) -> &'static str {
        self.judge.name()
    }

    fn truncated(&self) -> u64 {
        self.judge.truncated()
    }

    fn unclear(&self) -> u64 {
        self.judge.unclear()
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        let mut found: Vec<Option<Judgement>> = pairs.iter().map(|&pair| self.memory().recall(pair)).collect();
        let unknown: Vec<(&str, &str)> = pairs.iter().zip(&found).filter(|(_, known)| known.is_none()).map(|(&pair, _)| pair).collect();
        if !unknown.is_empty() {
            let judged = self.judge.judge(&unknown)?;
            unknown.iter().zip(&judged).for_each(|(&pair, &judgement)| self.memory().store(pair, judgement));
            found.iter_mut().filter(|known| known.is_none()).zip(judged).for_each(|(place, judgement)| *place = Some(judgement));
        }
        let short = || BackendError { backend: self.name(), reason: "it judged fewer pairs than it was asked".to_owned() };
        found.into_iter().map(|judgement| judgement.ok_or_else(short)).collect()
    }
}

/// Two generations: when the young one fills half the room, the old one is forgotten and the young one takes its place. What is asked for again
/// moves to the young one, so what is used stays.
#[derive(Debug, Default)]
struct Memory {
    half: usize,
    held: usize,
    young: HashMap<Pair, Judgement>,
    old: HashMap<Pair, Judgement>,
}

impl Memory {
    fn recall(&mut self, pair: (&str, &str)) -> Option<Judgement> {
        let key = key(pair);
        if let Some(&known) = self.young.get(&key) {
            return Some(known);
        }
        let known = self.old.remove(&key)?;
        self.store(pair, known);
        Some(known)
    }

    fn store(&mut self, pair: (&str, &str), judgement: Judgement) {
        let bytes = pair.0.len() + pair.1.len();
        if self.held + bytes > self.half {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
        }
        if bytes <= self.half && self.young.insert(key(pair), judgement).is_none() {
            self.held += bytes;
        }
    }
}

fn key(pair: (&str, &str)) -> Pair {
    (pair.0.into(), pair.1.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Judges by the premise's length, and counts what it is asked.
    #[derive(Debug, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Entailment for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
            self.0.fetch_add(pairs.len(), Ordering::Relaxed);
            Ok(pairs.iter().map(|pair| of(pair.0.len())).collect())
        }
    }

    fn of(length: usize) -> Judgement {
        Judgement { entailment: 1.0 / (1 + length) as f64, neutral: 0.0, contradiction: 1.0 - 1.0 / (1 + length) as f64 }
    }

    #[test]
    fn a_pair_is_judged_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let judge = Cached::new(Box::new(Counting(Arc::clone(&asked))), 1000);
        for _ in 0..3 {
            assert_eq!(judge.judge(&[("a", "b"), ("ccc", "b"), ("a", "bb")]), Ok(vec![of(1), of(3), of(1)]));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn memory_stays_within_its_bound_and_answers_stay_right() {
        let judge = Cached::new(Box::<Counting>::default(), 64);
        for round in 0..500 {
            let premise = "x".repeat(round % 40);
            assert_eq!(judge.judge(&[(&premise, "y")]), Ok(vec![of(round % 40)]));
            let memory = judge.memory();
            let held: usize = memory.young.keys().chain(memory.old.keys()).map(|(a, b)| a.len() + b.len()).sum();
            assert!(held <= 64, "{held}");
        }
    }
}
