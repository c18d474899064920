//! `coppice data`: corpora.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use coppice_upcycle::tokenizer_training::{TokenizerSettings, train_tokenizer, write_tokenizer};
use coppice_upcycle::world::{World, WorldConfig};

use crate::common::Outcome;
use crate::{output, toml_file};

/// Makes corpora: a synthetic world with questions and the table of what is true.
#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    Synth(SynthArgs),
}

/// Makes a synthetic world: people told of more or less often, questions, and the table of what is true; with a tokenizer for it.
#[derive(Debug, Args)]
struct SynthArgs {
    /// Folder to write: train.jsonl, valid.jsonl, questions.jsonl, knowledge.jsonl, pools.json, tokenizer/.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// World recipe (TOML); default: the demo's world.
    #[arg(long, value_name = "WORLD.toml")]
    config: Option<PathBuf>,
    /// Seed, instead of the recipe's.
    #[arg(long)]
    seed: Option<u64>,
    /// Size of the tokenizer's vocabulary.
    #[arg(long, default_value_t = 1500, value_name = "N")]
    vocabulary: usize,
    /// Replace the world that is in the folder.
    #[arg(long)]
    overwrite: bool,
    /// Print the manifest as one JSON object.
    #[arg(long)]
    json: bool,
}

impl DataArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        match &self.command {
            DataCommand::Synth(arguments) => arguments.run(),
        }
    }
}

impl SynthArgs {
    fn run(&self) -> Result<Outcome> {
        let mut config: WorldConfig = self.config.as_deref().map(toml_file::read).transpose()?.unwrap_or_default();
        config.seed = self.seed.unwrap_or(config.seed);
        let in_use = self.output.is_file() || std::fs::read_dir(&self.output).is_ok_and(|mut entries| entries.next().is_some());
        if in_use && !self.overwrite {
            bail!("{} exists; pass --overwrite to replace it, or name another output", self.output.display());
        }
        let world = World::generate(config)?;
        let settings = TokenizerSettings { vocab_size: self.vocabulary, ..TokenizerSettings::default() };
        let texts: Vec<String> = world.tokenizer_documents(2000).collect();
        let tokenizer = train_tokenizer(texts.into_iter(), &settings)?;
        write_tokenizer(&tokenizer, &settings, &self.output.join("tokenizer"))?;
        let manifest = world.write(&self.output)?;
        if self.json {
            output::json(&manifest)?;
        } else {
            output::line(format!(
                "{} people, {:.0} bits of facts: {}",
                world.people().len(),
                manifest.demanded_bits,
                self.output.display()
            ))?;
        }
        Ok(Outcome::Done)
    }
}
