//! The record of an answered prompt: what generation left, in the detector's form.

use anyhow::Result;
use coppice_detect::record::{Attention, Hidden};
use coppice_detect::{Record, Sample};
use coppice_models::generate::Trace;
use coppice_models::observe::{AttentionSummary, HiddenSummary};
use serde_json::{Value, json};

use super::{Answering, Asked, TraceKind, known};

impl Answering<'_> {
    /// The record of `traces`: the response, then the samples.
    pub(super) fn record(&self, asked: &Asked, traces: &[Trace], seconds: f64) -> Result<Record> {
        let answers = traces.iter().map(|trace| self.sample(trace)).collect::<Result<Vec<_>>>()?;
        let mut samples = answers.into_iter();
        let (response, divergences) = (samples.next().unwrap_or_default(), traces.first().map(|trace| trace.divergences.clone()));
        let divergences = divergences.filter(|_| self.leaves(TraceKind::Distribution)).unwrap_or_default();
        let observed = |values: Vec<f64>| self.leaves(TraceKind::Distribution).then_some(values);
        Ok(Record {
            id: self.id(&asked.text),
            prompt: asked.text.clone(),
            response: response.text,
            tokens: response.tokens,
            token_logprobs: response.token_logprobs,
            token_entropies: response.token_entropies,
            top_logprobs: traces.first().map(|trace| trace.top_logprobs.clone()),
            token_texts: response.token_texts,
            top_texts: traces.first().and_then(|trace| self.top_texts(trace)),
            token_self_certainties: observed(divergences.self_certainties),
            token_renyi: observed(divergences.renyi),
            attention: traces.first().and_then(|trace| trace.attention.as_ref()).map(attention),
            hidden: response.hidden,
            samples: samples.collect(),
            source: Some(self.source(seconds)),
            ..Record::default()
        })
    }

    /// The same prompt and seed give the same id, others another one.
    fn id(&self, prompt: &str) -> String {
        blake3::hash(format!("{}\n{prompt}", self.settings.seed).as_bytes()).to_hex()[..16].to_owned()
    }

    fn sample(&self, trace: &Trace) -> Result<Sample> {
        Ok(Sample {
            text: self.response(trace)?,
            tokens: Some(trace.tokens.clone()),
            token_logprobs: Some(trace.logprobs.clone()),
            token_entropies: Some(trace.entropies.clone()),
            token_texts: self.tokenizer.map(|tokenizer| tokenizer.pieces(&known(&trace.tokens))).transpose()?,
            hidden: trace.hidden.iter().map(hidden).collect(),
        })
    }

    /// The text of every alternative by itself: U+FFFD for bytes that are no whole character.
    fn top_texts(&self, trace: &Trace) -> Option<Vec<Vec<String>>> {
        let tokenizer = self.tokenizer?;
        let bytes = |id: i64| u32::try_from(id).ok().and_then(|id| tokenizer.bytes(id)).unwrap_or_default();
        let text = |&(id, _): &(i64, f64)| String::from_utf8_lossy(&bytes(id)).into_owned();
        Some(trace.top_logprobs.iter().map(|alternatives| alternatives.iter().map(text).collect()).collect())
    }

    fn source(&self, seconds: f64) -> Value {
        let settings = &self.settings;
        let sampling = &settings.sampling;
        json!({
            "model": settings.name, "seed": settings.seed, "samples": settings.samples, "max_new_tokens": settings.max_new_tokens,
            "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p, "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty, "seconds": seconds,
        })
    }
}

fn attention(summary: &AttentionSummary) -> Attention {
    Attention { rauq: summary.rauq.clone(), score: summary.score.clone(), lookback: summary.lookback.clone() }
}

fn hidden(summary: &HiddenSummary) -> Hidden {
    let HiddenSummary { layer, mean, last, before_last, prompt } = summary.clone();
    Hidden { layer, mean, last, before_last, prompt }
}
