//! The options of routers: where their rows come from, and what is done to their logits.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use coppice_models::Checkpoint;
use coppice_upcycle::convert::{Options, RouterInit};
use coppice_upcycle::routers;

use super::choices::refuse_foreign;
use super::data;

/// Tokens of a sample where the user names no number.
const SAMPLE_TOKENS: usize = 2048;

/// How routers start.
#[derive(Debug, Args)]
pub(super) struct RouterArgs {
    /// Where the first rows come from; see below.
    #[arg(long, default_value = "normal", value_name = "INIT")]
    router_init: RouterInit,
    /// Standard deviation of drawn rows. Default: 0.02.
    #[arg(long, value_name = "S")]
    router_std: Option<f64>,
    /// Length of rows made from data. Default: 1.
    #[arg(long, value_name = "S")]
    router_scale: Option<f64>,
    /// Prompts of each expert, JSON or TOML: {"experts": [{"positive_prompts": [..], "negative_prompts": [..]}]}.
    #[arg(long, value_name = "FILE")]
    router_prompts: Option<PathBuf>,
    /// Text whose tokens are clustered.
    #[arg(long, value_name = "FILE")]
    router_text: Option<PathBuf>,
    /// How many of its tokens. Default: 2048.
    #[arg(long, value_name = "N")]
    router_text_tokens: Option<usize>,
    /// Give routers a bias for balancing without a loss, zero at first (DeepSeek-V3).
    #[arg(long)]
    router_bias: bool,
    /// Normalise each token's logits to this deviation (Skywork-MoE).
    #[arg(long, value_name = "L")]
    router_logit_norm: Option<f64>,
}

impl RouterArgs {
    /// Enters what is given into the options; files are read and turned into ids by the model's tokenizer.
    pub(super) fn apply(&self, model: &Checkpoint, options: &mut Options) -> Result<()> {
        self.check()?;
        options.router_init = self.router_init;
        options.router_std = self.router_std.unwrap_or(options.router_std);
        options.router_scale = self.router_scale.unwrap_or(options.router_scale);
        options.router_bias = self.router_bias;
        options.router_logit_norm = self.router_logit_norm;
        if let Some(path) = &self.router_prompts {
            options.router_prompts = data::prompts(model, path)?;
        }
        if let Some(path) = &self.router_text {
            options.router_sample = data::sequences(model, path, self.router_text_tokens.unwrap_or(SAMPLE_TOKENS))?;
        }
        Ok(())
    }

    /// Refuses options of another initialisation, and one without the file it reads.
    fn check(&self) -> Result<()> {
        let name = self.router_init.name();
        let owners: Vec<_> = routers::ALL.iter().map(|init| (init.init().name(), init.flags())).collect();
        refuse_foreign("router init", name, &self.given(), &owners)?;
        let flags = routers::find(self.router_init).flags();
        for (file, given) in [("router-prompts", self.router_prompts.is_some()), ("router-text", self.router_text.is_some())] {
            if flags.contains(&file) && !given {
                bail!("router init {name} makes rows from a file, name it with --{file}");
            }
        }
        Ok(())
    }

    /// Every option of single initialisations, and whether it is given.
    fn given(&self) -> [(&'static str, bool); 5] {
        [
            ("router-std", self.router_std.is_some()),
            ("router-scale", self.router_scale.is_some()),
            ("router-prompts", self.router_prompts.is_some()),
            ("router-text", self.router_text.is_some()),
            ("router-text-tokens", self.router_text_tokens.is_some()),
        ]
    }
}
