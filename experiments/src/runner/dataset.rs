//! What the models of a recipe learn from: the synthetic world, or real text. Either gives documents for each phase, every one of them
//! belonging to a person or a domain, so that branches can be trained on parts.

mod text;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use coppice_upcycle::corpus::{TokenizedCorpus, tokenize_documents};
use coppice_upcycle::inspect;
use coppice_upcycle::tokenizer_training::END_OF_TEXT;
use coppice_upcycle::world::World;
use serde_json::{Value, json};

pub use self::text::Text;
use super::recipe::{Branches, Recipe};

/// Strangers whose texts the world's tokenizer is trained on.
const STRANGERS: usize = 2000;

/// One document of training text.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The text.
    pub text: String,
    /// Number of the person or domain it is about.
    pub part: usize,
}

/// Documents as they are asked for.
pub type Passages<'a> = Box<dyn Iterator<Item = Passage> + 'a>;

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

    /// The documents of a stretch, worded one by one: a large world's do not fit into memory.
    pub fn passages(&self, span: Span, recipe: &Recipe) -> Passages<'_> {
        match span {
            Span::Pretrain => self.pretrain(recipe),
            Span::Continue => self.continued(recipe),
            Span::Whole => Box::new(self.pretrain(recipe).chain(self.continued(recipe))),
            Span::Branch(branches, index) => {
                let first = self.cut(branches, recipe);
                Box::new(self.continued(recipe).take(first).filter(move |passage| passage.part % branches.count == index))
            }
            Span::AfterBranches(branches) => Box::new(self.continued(recipe).skip(self.cut(branches, recipe))),
        }
    }

    fn pretrain(&self, recipe: &Recipe) -> Passages<'_> {
        match self {
            Self::World(world) => passes(world, 0..recipe.pretrain.passes),
            Self::Text(text) => Box::new(text.pretrain.iter().cloned()),
        }
    }

    fn continued(&self, recipe: &Recipe) -> Passages<'_> {
        match self {
            Self::World(world) => passes(world, recipe.pretrain.passes..recipe.world.passes),
            Self::Text(text) => Box::new(text.continued.iter().cloned()),
        }
    }

    /// How many of the continuation's documents belong to the branches.
    fn cut(&self, branches: Branches, recipe: &Recipe) -> usize {
        (self.continued(recipe).count() as f64 * branches.share) as usize
    }

    /// Ids of a stretch, each document followed by the end-of-text id.
    pub fn tokens(&self, span: Span, recipe: &Recipe, tokenizer: &Path) -> Result<TokenizedCorpus> {
        encode(self.passages(span, recipe).map(|passage| passage.text), tokenizer)
    }

    /// Ids of the held-out documents.
    pub fn validation_tokens(&self, tokenizer: &Path) -> Result<TokenizedCorpus> {
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

fn passes(world: &World, passes: std::ops::Range<usize>) -> Passages<'_> {
    Box::new(passes.flat_map(|pass| world.told(pass).map(|(part, document)| Passage { text: document.text, part })))
}

fn encode(documents: impl Iterator<Item = String>, folder: &Path) -> Result<TokenizedCorpus> {
    let tokenizer = load_tokenizer(folder)?;
    let end = tokenizer.token_to_id(END_OF_TEXT).with_context(|| format!("the tokenizer lacks {END_OF_TEXT}"))?;
    Ok(tokenize_documents(&tokenizer, documents.map(Ok), end)?)
}

/// The tokenizer in a stage's folder.
pub fn load_tokenizer(folder: &Path) -> Result<tokenizers::Tokenizer> {
    let path = folder.join("tokenizer.json");
    tokenizers::Tokenizer::from_file(&path).map_err(|error| anyhow!("{}: {error}", path.display()))
}
