//! What the models of a recipe learn from: the synthetic world, or real text. Either gives documents for each phase, every one of them
//! belonging to a person or a domain, so that branches can be trained on parts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use coppice_models::init::stream;
use coppice_upcycle::corpus::{Labelled, open, tokenize_documents};
use coppice_upcycle::inspect;
use coppice_upcycle::tokenizer_training::END_OF_TEXT;
use coppice_upcycle::world::World;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::recipe::{Branches, Recipe, TextRecipe};

/// Strangers whose texts the world's tokenizer is trained on.
const STRANGERS: usize = 2000;
/// Characters at which a document of real text is cut at its next blank line.
const PIECE: usize = 1000;

/// One document of training text.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The text.
    pub text: String,
    /// Number of the person or domain it is about.
    pub part: usize,
}

/// A stretch of the training documents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Span {
    /// What the dense model is pre-trained on.
    Pretrain,
    /// What every arm is continued on.
    Continue,
    /// Both.
    Whole,
    /// What one of the branches is trained on, of the first documents of the continuation.
    Branch(Branches, usize),
    /// The continuation after the branches' share.
    AfterBranches(Branches),
}

/// Where documents come from.
pub enum Dataset {
    /// The synthetic world.
    World(Box<World>),
    /// Real text.
    Text(Text),
}

/// Real text in memory, in pieces, shuffled.
pub struct Text {
    recipe: TextRecipe,
    pretrain: Vec<Passage>,
    continued: Vec<Passage>,
    valid: Vec<Labelled>,
}

impl Dataset {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::World(_) => "world",
            Self::Text(_) => "text",
        }
    }

    /// What its documents depend on, for the keys of stages.
    pub fn key(&self, recipe: &Recipe) -> Value {
        match self {
            Self::World(_) => json!(recipe.world),
            Self::Text(text) => json!(text.recipe),
        }
    }

    /// Documents a tokenizer is trained on.
    pub fn tokenizer_documents(&self) -> Vec<String> {
        match self {
            Self::World(world) => world.tokenizer_documents(STRANGERS).collect(),
            Self::Text(text) => text.pretrain.iter().map(|passage| passage.text.clone()).collect(),
        }
    }

    /// The documents of a stretch.
    pub fn passages(&self, span: Span, recipe: &Recipe) -> Vec<Passage> {
        let of = |span| self.passages(span, recipe);
        match span {
            Span::Pretrain => self.pretrain(recipe),
            Span::Continue => self.continued(recipe),
            Span::Whole => [of(Span::Pretrain), of(Span::Continue)].concat(),
            Span::Branch(branches, index) => {
                let mut first = of(Span::Continue);
                first.truncate(cut(branches, first.len()));
                first.into_iter().filter(|passage| passage.part % branches.count == index).collect()
            }
            Span::AfterBranches(branches) => {
                let mut all = of(Span::Continue);
                all.split_off(cut(branches, all.len()))
            }
        }
    }

    fn pretrain(&self, recipe: &Recipe) -> Vec<Passage> {
        match self {
            Self::World(world) => passes(world, 0..recipe.pretrain.passes),
            Self::Text(text) => text.pretrain.clone(),
        }
    }

    fn continued(&self, recipe: &Recipe) -> Vec<Passage> {
        match self {
            Self::World(world) => passes(world, recipe.pretrain.passes..recipe.world.passes),
            Self::Text(text) => text.continued.clone(),
        }
    }

    /// Ids of a stretch, each document followed by the end-of-text id.
    pub fn tokens(&self, span: Span, recipe: &Recipe, tokenizer: &Path) -> Result<Vec<u32>> {
        encode(self.passages(span, recipe).into_iter().map(|passage| passage.text), tokenizer)
    }

    /// Ids of the held-out documents.
    pub fn validation_tokens(&self, tokenizer: &Path) -> Result<Vec<u32>> {
        match self {
            Self::World(world) => encode(world.validation_documents().map(|document| document.text), tokenizer),
            Self::Text(text) => encode(text.valid.iter().map(|document| document.text.clone()), tokenizer),
        }
    }

    /// The held-out documents with their domains (of the world: what kind of document it is), for looking at experts.
    pub fn validation_documents(&self, tokenizer: &Path) -> Result<Vec<inspect::Document>> {
        let tokenizer = load_tokenizer(tokenizer)?;
        let document = |text: &str, domain: Option<String>| -> Result<inspect::Document> {
            let encoding = tokenizer.encode_fast(text, false).map_err(|error| anyhow!("{error}"))?;
            Ok(inspect::Document { tokens: encoding.get_ids().iter().copied().map(i64::from).collect(), domain })
        };
        match self {
            Self::World(world) => {
                let kind = |kind| Ok::<_, anyhow::Error>(serde_json::to_value(kind)?.as_str().map(|name| name.replace('_', " ")));
                world.validation_documents().map(|told| document(&told.text, kind(told.kind)?)).collect()
            }
            Self::Text(text) => text.valid.iter().map(|told| document(&told.text, told.domain.clone())).collect(),
        }
    }
}

/// How many of `documents` belong to the branches.
fn cut(branches: Branches, documents: usize) -> usize {
    (documents as f64 * branches.share) as usize
}

fn passes(world: &World, passes: std::ops::Range<usize>) -> Vec<Passage> {
    passes.flat_map(|pass| world.told(pass).map(|(part, document)| Passage { text: document.text, part })).collect()
}

impl Text {
    /// Reads the files and shuffles their pieces.
    pub fn read(recipe: &TextRecipe) -> Result<Self> {
        let mut domains = BTreeMap::new();
        let mut pieces: Vec<Passage> = Vec::new();
        for Labelled { text, domain } in documents(&TextRecipe::files(&recipe.train))? {
            let next = domains.len();
            let part = *domains.entry(domain.unwrap_or_default()).or_insert(next);
            pieces.extend(cut_at_blank_lines(&text).map(|text| Passage { text, part }));
        }
        pieces.shuffle(&mut stream(recipe.seed, "text"));
        let continued = pieces.split_off(reach(&pieces, recipe.pretrain_characters, "pretrain_characters")?);
        let end = reach(&continued, recipe.continue_characters, "continue_characters")?;
        let valid = spread(documents(&TextRecipe::files(&recipe.valid))?, recipe.valid_characters, recipe.seed);
        Ok(Self { recipe: recipe.clone(), pretrain: pieces, continued: continued[..end].to_vec(), valid })
    }
}

fn documents(files: &[std::path::PathBuf]) -> Result<Vec<Labelled>> {
    let mut all = Vec::new();
    for file in files {
        for document in open(file)?.labelled() {
            all.push(document?);
        }
    }
    Ok(all)
}

/// How many pieces make so many characters.
fn reach(pieces: &[Passage], characters: usize, key: &str) -> Result<usize> {
    let mut read = 0;
    for (index, piece) in pieces.iter().enumerate() {
        read += piece.text.len();
        if read >= characters {
            return Ok(index + 1);
        }
    }
    Err(anyhow!("text: {key} is {characters}, the training files have only {read} left for it"))
}

/// Pieces of held-out documents in a seeded order up to `characters`, so that every domain has its share.
fn spread(documents: Vec<Labelled>, characters: usize, seed: u64) -> Vec<Labelled> {
    let pieces = |document: &Labelled| {
        let domain = document.domain.clone();
        cut_at_blank_lines(&document.text).map(|text| Labelled { text, domain: domain.clone() }).collect::<Vec<_>>()
    };
    let mut all: Vec<Labelled> = documents.iter().flat_map(pieces).collect();
    all.shuffle(&mut stream(seed, "held-out text"));
    let mut read = 0;
    all.retain(|piece| {
        let wanted = read < characters;
        read += piece.text.len();
        wanted
    });
    all
}

/// Pieces of at least [`PIECE`] characters where the document is long enough, cut at blank lines.
fn cut_at_blank_lines(text: &str) -> impl Iterator<Item = String> {
    let mut pieces: Vec<String> = vec![String::new()];
    for paragraph in text.split("\n\n") {
        if pieces.last().is_some_and(|piece| piece.len() >= PIECE) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            let gap = if piece.is_empty() { "" } else { "\n\n" };
            piece.push_str(gap);
            piece.push_str(paragraph);
        }
    }
    pieces.into_iter().filter(|piece| !piece.trim().is_empty())
}

fn encode(documents: impl Iterator<Item = String>, folder: &Path) -> Result<Vec<u32>> {
    let tokenizer = load_tokenizer(folder)?;
    let end = tokenizer.token_to_id(END_OF_TEXT).with_context(|| format!("the tokenizer lacks {END_OF_TEXT}"))?;
    Ok(tokenize_documents(&tokenizer, documents.map(Ok), end)?.tokens)
}

/// The tokenizer in a stage's folder.
pub fn load_tokenizer(folder: &Path) -> Result<tokenizers::Tokenizer> {
    let path = folder.join("tokenizer.json");
    tokenizers::Tokenizer::from_file(&path).map_err(|error| anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_blank_lines_and_lose_nothing() {
        let long = "a".repeat(600);
        let text = format!("{long}\n\n{long}\n\n{long}\n\nend");
        let pieces: Vec<String> = cut_at_blank_lines(&text).collect();
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces.join("\n\n"), text);
        assert_eq!(cut_at_blank_lines("\n\n").count(), 0);
    }

    #[test]
    fn too_few_characters_are_named() {
        let pieces = [Passage { text: "four".into(), part: 0 }];
        assert_eq!(reach(&pieces, 3, "k").unwrap(), 1);
        assert!(reach(&pieces, 5, "continue_characters").unwrap_err().to_string().contains("continue_characters is 5"));
    }
}
