//! What answering one request costs: its prompt, and every token generated after it.

use serde::Serialize;

use super::{Account, Setting};
use crate::config::Config;
use crate::error::{Error, Result};

/// What one request of a batch costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Request {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Tokens generated; the first one is the prefill's.
    pub generated: u64,
    /// FLOPs of the prefill.
    pub prefill_flops: f64,
    /// FLOPs of the steps after it.
    pub decode_flops: f64,
    /// Bytes of the prefill, this request's share.
    pub prefill_bytes: f64,
    /// Bytes of the steps after it, this request's share.
    pub decode_bytes: f64,
}

impl Request {
    /// Counts for `setting.batch` requests side by side, each with a prompt of `setting.context` tokens and `generated` tokens.
    ///
    /// # Errors
    /// As [`Account::new`], and when no token is generated.
    pub fn new(config: &Config, setting: Setting, generated: u64) -> Result<Self> {
        if generated == 0 {
            return Err(Error::Input("a request must generate one token at least".into()));
        }
        let account = Account::new(config, setting)?;
        let (prompt, steps) = (setting.context as f64, generated as f64 - 1.0);
        let later = steps * (steps + 1.0) / 2.0; // positions past the prompt, over all steps
        let cache = account.cache_bytes_per_token;
        Ok(Self {
            prompt: setting.context,
            generated,
            prefill_flops: account.prefill_flops * prompt,
            decode_flops: account.decode_flops * steps + account.attention_flops * later,
            prefill_bytes: account.prefill_bytes * prompt,
            decode_bytes: account.decode_bytes * steps + cache * later,
        })
    }

    /// FLOPs of the whole request.
    pub fn flops(&self) -> f64 {
        self.prefill_flops + self.decode_flops
    }

    /// Bytes of the whole request.
    pub fn bytes(&self) -> f64 {
        self.prefill_bytes + self.decode_bytes
    }
}
