//! `coppice score`: log-probability and entropy of every token of given texts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_models::Model;
use coppice_models::fs::Existing;
use coppice_models::score::{TokenScores, score};
use coppice_models::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::common::{Causality, Interrupted, ModelArgs, Outcome, check_interrupt, progress, refuse_existing};
use crate::{jsonl, output};

/// Scores each line of a JSONL file of {"text"} or {"tokens"}: log-probability and entropy of every token, in nats.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    causality: Causality,
    /// JSONL: one {"text": "..."} or {"tokens": [...]} a line, with an "id" if you like.
    #[arg(long, value_name = "F.jsonl")]
    input: PathBuf,
    /// JSONL: "token_logprobs" and "entropies", one entry a token, null for the first.
    #[arg(long, value_name = "G.jsonl")]
    output: PathBuf,
    /// Tokens run at once, padding included.
    #[arg(long, default_value_t = 8192, value_name = "N")]
    batch_tokens: usize,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

/// One line; other fields, as corpora have them, are passed over.
#[derive(Debug, Deserialize)]
struct Item {
    id: Option<serde_json::Value>,
    text: Option<String>,
    tokens: Option<Vec<i64>>,
}

#[derive(Debug, Serialize)]
struct Scored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    tokens: &'a [i64],
    token_logprobs: &'a [Option<f64>],
    entropies: &'a [Option<f64>],
}

#[derive(Debug, Serialize)]
struct Summary {
    items: usize,
    tokens: usize,
    /// Nats; none where no item has a second token.
    mean_nll: Option<f64>,
    perplexity: Option<f64>,
}

impl ScoreArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite)?;
        let items: Vec<Item> = jsonl::read(&self.input)?;
        let checkpoint = self.model.open()?;
        self.causality.check(&checkpoint.config)?;
        let sequences = self.tokenize(&items, &checkpoint.folder)?;
        self.check(&sequences, &checkpoint.config)?;
        let (_, model) = self.model.load()?;
        let scores = self.score_all(&model, &sequences)?;
        self.write(&items, &sequences, &scores)?;
        self.report(&summarise(&scores))?;
        Ok(Outcome::Done)
    }

    fn tokenize(&self, items: &[Item], folder: &Path) -> Result<Vec<Vec<i64>>> {
        let tokenizer = if items.iter().any(|item| item.text.is_some()) { Some(Tokenizer::load(folder)?) } else { None };
        let place = |line: usize| format!("{}, line {}", self.input.display(), line + 1);
        items.iter().enumerate().map(|(line, item)| item.ids(tokenizer.as_ref()).with_context(|| place(line))).collect()
    }

    /// Everything that can be refused is refused before the weights are read.
    fn check(&self, sequences: &[Vec<i64>], config: &coppice_models::Config) -> Result<()> {
        for (line, tokens) in sequences.iter().enumerate() {
            let fits = || coppice_models::score::check_tokens(config, tokens);
            fits().with_context(|| format!("{}, line {}", self.input.display(), line + 1))?;
        }
        Ok(())
    }

    /// Scores in batches of like lengths.
    fn score_all(&self, model: &Model, sequences: &[Vec<i64>]) -> Result<Vec<TokenScores>> {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(sequences[index].len()));
        let bar = progress(sequences.len() as u64, "score");
        let mut scores = vec![None; sequences.len()];
        while !order.is_empty() {
            check_interrupt().map_err(|_| Interrupted::NothingWritten)?;
            let size = (self.batch_tokens / sequences[order[0]].len()).clamp(1, order.len());
            let batch: Vec<usize> = order.drain(..size).collect();
            let texts: Vec<_> = batch.iter().map(|&index| sequences[index].clone()).collect();
            for (index, scored) in batch.into_iter().zip(score(model, &texts)?) {
                scores[index] = Some(scored);
            }
            bar.inc(size as u64);
        }
        Ok(scores.into_iter().flatten().collect())
    }

    fn write(&self, items: &[Item], sequences: &[Vec<i64>], scores: &[TokenScores]) -> Result<()> {
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        let lines = items.iter().zip(sequences).zip(scores);
        jsonl::write(
            &self.output,
            existing,
            lines.map(|((item, tokens), score)| Scored {
                id: item.id.as_ref(),
                tokens,
                token_logprobs: &score.logprobs,
                entropies: &score.entropies,
            }),
        )
    }

    fn report(&self, summary: &Summary) -> Result<()> {
        if self.json {
            return output::json(summary);
        }
        let Summary { items, tokens, mean_nll, perplexity } = summary;
        let means = mean_nll.zip(*perplexity).map(|(nll, perplexity)| format!(", mean NLL {nll:.4} nats, perplexity {perplexity:.3}"));
        output::line(format!("{items} items, {tokens} predicted tokens{}", means.unwrap_or_default()))
    }
}

impl Item {
    fn ids(&self, tokenizer: Option<&Tokenizer>) -> Result<Vec<i64>> {
        match (&self.text, &self.tokens, tokenizer) {
            (Some(text), None, Some(tokenizer)) => Ok(tokenizer.encode(text)?.into_iter().map(i64::from).collect()),
            (None, Some(tokens), _) => Ok(tokens.clone()),
            _ => bail!("expected either \"text\" or \"tokens\""),
        }
    }
}

fn summarise(scores: &[TokenScores]) -> Summary {
    let known: Vec<f64> = scores.iter().flat_map(|score| score.logprobs.iter().flatten().copied()).collect();
    let mean_nll = (!known.is_empty()).then(|| -known.iter().sum::<f64>() / known.len() as f64);
    Summary { items: scores.len(), tokens: known.len(), mean_nll, perplexity: mean_nll.map(f64::exp) }
}
