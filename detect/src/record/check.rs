//! What a record may not say: numbers that are none, lists of one answer that disagree, probabilities beyond their bounds.
//!
//! Records come from other programs; a score need not ask of every number whether it can be one.

use super::{Attention, Hidden, Inconsistency, Judged, Record, Sample, TOLERANCE};

/// Nothing, or what is wrong.
type Checked = Result<(), Inconsistency>;

/// What is wrong with one number of a list, from its field, place and value.
type Fault = fn(String, usize, f64) -> Inconsistency;

impl Record {
    /// Checks what the types cannot: lists of one answer agree in length, numbers are finite, log-probabilities are at most and entropies and
    /// divergences at least 0 (within [`TOLERANCE`]), judgements are probabilities, the rows of `judged.support` are of one length, the label
    /// is 0 or 1.
    ///
    /// # Errors
    /// The first [`Inconsistency`], naming the field and the place.
    pub fn check(&self) -> Checked {
        if self.id.is_empty() {
            return Err(Inconsistency::NoId);
        }
        if let Some(label) = self.label.filter(|&label| label > 1) {
            return Err(Inconsistency::Label(label));
        }
        self.check_traces()?;
        self.attention.as_ref().map_or(Ok(()), Attention::check)?;
        check_hidden(&self.hidden, "")?;
        self.judged.as_ref().map_or(Ok(()), Judged::check)?;
        check_samples(&self.samples, "")?;
        self.variants.iter().enumerate().try_for_each(|(index, variant)| check_samples(&variant.samples, &format!("variants[{index}].")))
    }

    fn check_traces(&self) -> Checked {
        check_lengths("", &self.lengths())?;
        check_logprobs("token_logprobs", entries(&self.token_logprobs))?;
        check_entropies("token_entropies", entries(&self.token_entropies))?;
        check_logprobs("unconditional_logprobs", entries(&self.unconditional_logprobs))?;
        check_divergences("token_self_certainties", entries(&self.token_self_certainties))?;
        check_divergences("token_renyi", entries(&self.token_renyi))?;
        self.check_alternatives()
    }

    fn lengths(&self) -> [(&'static str, Option<usize>); 9] {
        [
            ("tokens", length(&self.tokens)),
            ("token_logprobs", length(&self.token_logprobs)),
            ("token_entropies", length(&self.token_entropies)),
            ("top_logprobs", length(&self.top_logprobs)),
            ("token_texts", length(&self.token_texts)),
            ("top_texts", length(&self.top_texts)),
            ("token_self_certainties", length(&self.token_self_certainties)),
            ("token_renyi", length(&self.token_renyi)),
            ("unconditional_logprobs", length(&self.unconditional_logprobs)),
        ]
    }

    fn check_alternatives(&self) -> Checked {
        let (logprobs, texts) = (entries(&self.top_logprobs), entries(&self.top_texts));
        for (index, alternatives) in logprobs.iter().enumerate() {
            let values: Vec<f64> = alternatives.iter().map(|&(_, logprob)| logprob).collect();
            check_logprobs(&format!("top_logprobs[{index}]"), &values)?;
        }
        logprobs.iter().zip(texts).enumerate().try_for_each(|(index, (logprobs, texts))| {
            let names = [format!("top_logprobs[{index}]"), format!("top_texts[{index}]")];
            check_even(names, [logprobs.len(), texts.len()])
        })
    }
}

impl Attention {
    fn check(&self) -> Checked {
        [("rauq", &self.rauq), ("score", &self.score), ("lookback", &self.lookback)]
            .into_iter()
            .try_for_each(|(name, values)| check_finite(&format!("attention.{name}"), values.iter().copied()))
    }
}

impl Hidden {
    fn check(&self, place: &str) -> Checked {
        [("mean", &self.mean), ("last", &self.last), ("before_last", &self.before_last), ("prompt", &self.prompt)]
            .into_iter()
            .try_for_each(|(name, values)| check_finite(&format!("{place}{name}"), values.iter().copied().map(f64::from)))
    }
}

impl Judged {
    fn check(&self) -> Checked {
        for (name, value) in [("p_true", self.p_true), ("p_true_sampling", self.p_true_sampling), ("verbalised", self.verbalised)] {
            value.map_or(Ok(()), |value| check_probability(|| format!("judged.{name}"), value))?;
        }
        let rows = entries(&self.support);
        for (index, row) in rows.iter().enumerate() {
            let names = ["judged.support[0]".to_owned(), format!("judged.support[{index}]")];
            check_even(names, [rows[0].len(), row.len()])?;
            row.iter().enumerate().try_for_each(|(at, &value)| check_probability(|| format!("judged.support[{index}][{at}]"), value))?;
        }
        Ok(())
    }
}

impl Sample {
    fn check(&self, place: &str) -> Checked {
        let lengths = [
            ("tokens", length(&self.tokens)),
            ("token_logprobs", length(&self.token_logprobs)),
            ("token_entropies", length(&self.token_entropies)),
            ("token_texts", length(&self.token_texts)),
        ];
        check_lengths(place, &lengths)?;
        check_logprobs(&format!("{place}token_logprobs"), entries(&self.token_logprobs))?;
        check_entropies(&format!("{place}token_entropies"), entries(&self.token_entropies))?;
        check_hidden(&self.hidden, place)
    }
}

fn entries<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

fn length<T>(list: &Option<Vec<T>>) -> Option<usize> {
    list.as_ref().map(Vec::len)
}

fn check_samples(samples: &[Sample], place: &str) -> Checked {
    samples.iter().enumerate().try_for_each(|(index, sample)| sample.check(&format!("{place}samples[{index}].")))
}

fn check_hidden(layers: &[Hidden], place: &str) -> Checked {
    layers.iter().enumerate().try_for_each(|(index, layer)| layer.check(&format!("{place}hidden[{index}].")))
}

/// Whether the lists that are there have one entry a token.
fn check_lengths(place: &str, lists: &[(&str, Option<usize>)]) -> Checked {
    let present: Vec<(&str, usize)> = lists.iter().filter_map(|&(name, len)| Some((name, len?))).collect();
    match present.windows(2).find(|pair| pair[0].1 != pair[1].1) {
        None => Ok(()),
        Some(pair) => Err(Inconsistency::Lengths {
            first: format!("{place}{}", pair[0].0),
            first_len: pair[0].1,
            second: format!("{place}{}", pair[1].0),
            second_len: pair[1].1,
        }),
    }
}

fn check_even([first, second]: [String; 2], [first_len, second_len]: [usize; 2]) -> Checked {
    if first_len == second_len { Ok(()) } else { Err(Inconsistency::Uneven { first, first_len, second, second_len }) }
}

fn check_logprobs(field: &str, logprobs: &[f64]) -> Checked {
    check_bound(field, logprobs, |value| value <= TOLERANCE, |field, index, value| Inconsistency::PositiveLogprob { field, index, value })
}

fn check_entropies(field: &str, entropies: &[f64]) -> Checked {
    check_bound(field, entropies, |value| value >= -TOLERANCE, |field, index, value| Inconsistency::NegativeEntropy { field, index, value })
}

fn check_divergences(field: &str, values: &[f64]) -> Checked {
    check_bound(field, values, |value| value >= -TOLERANCE, |field, index, value| Inconsistency::NegativeDivergence { field, index, value })
}

fn check_bound(field: &str, values: &[f64], allowed: fn(f64) -> bool, fault: Fault) -> Checked {
    check_finite(field, values.iter().copied())?;
    match values.iter().position(|&value| !allowed(value)) {
        None => Ok(()),
        Some(index) => Err(fault(field.to_owned(), index, values[index])),
    }
}

fn check_finite(field: &str, values: impl Iterator<Item = f64>) -> Checked {
    match values.enumerate().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, value)) => Err(Inconsistency::NotFinite { field: field.to_owned(), index, value }),
    }
}

fn check_probability(field: impl Fn() -> String, value: f64) -> Checked {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(Inconsistency::NotProbability { field: field(), value }) }
}
