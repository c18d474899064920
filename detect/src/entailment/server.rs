//! Entailment judged by a language model at a server, as Farquhar et al. 2024 do with GPT-3.5.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Entailment, Judgement};
use crate::server::{Judge, each};
use crate::similarity::BackendError;

/// A model at a server that names the relation of two texts. Its probabilities are those of the first token of its answer, shared among the three
/// words; a server that gives none makes them 1 and 0. An answer that is none of the three counts as neutral, as in the code of that paper, and is
/// counted.
#[derive(Debug)]
pub struct Served {
    judge: Arc<Judge>,
    concurrency: usize,
    unclear: Arc<AtomicU64>,
}

impl Served {
    /// Asks with at most `concurrency` requests at once.
    pub fn new(judge: Judge, concurrency: usize) -> Self {
        Self { judge: Arc::new(judge), concurrency, unclear: Arc::default() }
    }

    fn one(judge: &Judge, unclear: &AtomicU64, premise: &str, hypothesis: &str) -> Result<Judgement, BackendError> {
        let named = judge.relation(premise, hypothesis).map_err(|error| BackendError { backend: "server", reason: error.to_string() })?;
        Ok(named.unwrap_or_else(|| {
            unclear.fetch_add(1, Ordering::Relaxed);
            Judgement { entailment: 0.0, neutral: 1.0, contradiction: 0.0 }
        }))
    }
}

impl Entailment for Served {
    fn name(&self) -> &'static str {
        "server"
    }

    fn unclear(&self) -> u64 {
        self.unclear.load(Ordering::Relaxed)
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        let texts: Vec<(String, String)> =
            pairs.iter().map(|(premise, hypothesis)| ((*premise).to_owned(), (*hypothesis).to_owned())).collect();
        let (judge, unclear) = (Arc::clone(&self.judge), Arc::clone(&self.unclear));
        let results = each(texts.len(), self.concurrency, move |pair| Self::one(&judge, &unclear, &texts[pair].0, &texts[pair].1));
        let mut judged: Vec<(usize, Judgement)> = Vec::with_capacity(pairs.len());
        for (pair, judgement) in results {
            judged.push((pair, judgement?));
        }
        judged.sort_unstable_by_key(|(pair, _)| *pair);
        Ok(judged.into_iter().map(|(_, judgement)| judgement).collect())
    }
}
