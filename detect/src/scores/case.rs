//! A record being scored, with what several scores share: every similarity matrix is computed once.

use std::any::{Any, TypeId};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::LazyLock;

use ndarray::{Array2, s};

use super::{Missing, Model};
use crate::entailment::Judgement;
use crate::record::Record;
use crate::setup::{Equivalence, Setup};
use crate::similarity::{Similarity, clusters, expand, unique};

static DEFAULT: LazyLock<Setup> = LazyLock::new(Setup::default);

/// A record and the setup it is scored with. Answers are numbered: 0 the response, then the samples.
#[derive(Debug)]
pub struct Case<'a> {
    /// The record.
    pub record: &'a Record,
    /// Back-ends and fitted parameters.
    pub setup: &'a Setup,
    matrices: RefCell<BTreeMap<String, Rc<Array2<f64>>>>,
    judged: OnceCell<Rc<Array2<Judgement>>>,
    meanings: OnceCell<Rc<Vec<usize>>>,
    shared: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl<'a> Case<'a> {
    /// A case of the default setup, which needs no model.
    pub fn new(record: &'a Record) -> Self {
        Self::with(record, &DEFAULT)
    }

    /// A case of a setup.
    pub fn with(record: &'a Record, setup: &'a Setup) -> Self {
        Self { record, setup, matrices: RefCell::default(), judged: OnceCell::new(), meanings: OnceCell::new(), shared: RefCell::default() }
    }

    /// What a family of scores derives from the record, made once for each type `T`.
    ///
    /// # Errors
    /// Those of `make`.
    pub(in crate::scores) fn shared<T: 'static>(&self, make: impl FnOnce(&Self) -> Result<T, Missing>) -> Result<Rc<T>, Missing> {
        let known = self.shared.borrow().get(&TypeId::of::<T>()).cloned();
        if let Some(known) = known.and_then(|any| any.downcast().ok()) {
            return Ok(known);
        }
        let made = Rc::new(make(self)?);
        self.shared.borrow_mut().insert(TypeId::of::<T>(), Rc::clone(&made) as Rc<dyn Any>);
        Ok(made)
    }

    /// The response, then the samples' texts.
    pub fn answers(&self) -> Vec<&'a str> {
        std::iter::once(self.record.response.as_str()).chain(self.record.sample_texts()).collect()
    }

    /// Similarity of all answers, `[1 + samples, 1 + samples]`, computed once for each back-end.
    ///
    /// # Errors
    /// When the back-end's model fails, or the record lacks what it reads.
    pub fn similarity(&self, by: &dyn Similarity) -> Result<Rc<Array2<f64>>, Missing> {
        if let Some(known) = self.matrices.borrow().get(by.key()) {
            return Ok(Rc::clone(known));
        }
        let of_texts = || -> Result<Array2<f64>, Missing> {
            let answers = self.answers();
            let (texts, places) = unique(&answers);
            Ok(expand(&by.matrix(&texts)?, &places))
        };
        let matrix = Rc::new(by.answers(self.record).unwrap_or_else(of_texts)?);
        self.matrices.borrow_mut().insert(by.key().to_owned(), Rc::clone(&matrix));
        Ok(matrix)
    }

    /// Similarity of the samples, `[samples, samples]`.
    ///
    /// # Errors
    /// As [`Case::similarity`].
    pub fn sample_similarity(&self, by: &dyn Similarity) -> Result<Array2<f64>, Missing> {
        Ok(self.similarity(by)?.slice(s![1.., 1..]).to_owned())
    }

    /// What each answer (row, the premise) says of each other (column, the hypothesis), `[1 + samples, 1 + samples]`.
    ///
    /// # Errors
    /// Without an entailment model, and when it fails.
    pub fn entailment(&self) -> Result<Rc<Array2<Judgement>>, Missing> {
        if let Some(known) = self.judged.get() {
            return Ok(Rc::clone(known));
        }
        let answers = self.answers();
        let (texts, places) = unique(&answers);
        let all = |i: usize| texts.iter().enumerate().filter(move |&(j, _)| i != j).map(move |(_, text)| *text);
        let pairs: Vec<(&str, &str)> = (0..texts.len()).flat_map(|i| all(i).map(|other| (texts[i], other)).collect::<Vec<_>>()).collect();
        let mut judged = self.judge(&pairs)?.into_iter();
        let among = Array2::from_shape_fn((texts.len(), texts.len()), |(i, j)| {
            if i == j { Judgement::SAME } else { judged.next().unwrap_or(Judgement::SAME) }
        });
        Ok(Rc::clone(self.judged.get_or_init(|| Rc::new(expand(&among, &places)))))
    }

    /// Judgements of (premise, hypothesis) pairs, each distinct pair judged once.
    ///
    /// # Errors
    /// As [`Case::entailment`].
    pub fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, Missing> {
        let judge = self.setup.entailment.as_deref().ok_or(Missing::Entailment)?;
        let mut places = HashMap::new();
        let distinct: Vec<(&str, &str)> =
            pairs.iter().copied().filter(|pair| !places.contains_key(pair) && places.insert(*pair, places.len()).is_none()).collect();
        let judged = judge.judge(&distinct)?;
        pairs.iter().map(|pair| judged.get(places[pair]).copied().ok_or(Missing::Finite)).collect()
    }

    /// Meaning of every sample, numbered from 0 in order of first appearance.
    ///
    /// # Errors
    /// As [`Case::similarity`] or [`Case::entailment`], as the setup's equivalence asks.
    pub fn meanings(&self) -> Result<Rc<Vec<usize>>, Missing> {
        if let Some(known) = self.meanings.get() {
            return Ok(Rc::clone(known));
        }
        let found = Rc::new(clusters(&self.equivalent()?));
        Ok(Rc::clone(self.meanings.get_or_init(|| found)))
    }

    /// Which samples mean the same, `[samples, samples]`.
    fn equivalent(&self) -> Result<Array2<bool>, Missing> {
        let pairwise = |same: &dyn Fn(&Judgement, &Judgement) -> bool| -> Result<Array2<bool>, Missing> {
            let judged = self.entailment()?;
            let n = judged.nrows() - 1;
            Ok(Array2::from_shape_fn((n, n), |(i, j)| same(&judged[[i + 1, j + 1]], &judged[[j + 1, i + 1]])))
        };
        match &self.setup.equivalence {
            Equivalence::Similar { by, threshold } => Ok(self.sample_similarity(by.as_ref())?.mapv(|similarity| similarity >= *threshold)),
            Equivalence::Bidirectional => pairwise(&|there, back| there.entails() && back.entails()),
            Equivalence::NoContradiction => {
                pairwise(&|there, back| !there.contradicts() && !back.contradicts() && (there.entails() || back.entails()))
            }
        }
    }

    /// What was fitted for a learned score.
    ///
    /// # Errors
    /// When it was not fitted.
    pub fn fitted(&self, score: &'static str) -> Result<&'a dyn Model, Missing> {
        self.setup.fitted.model(score).ok_or(Missing::Fit(score))
    }
}
