//! Real text: documents with their domains, cut into pieces and shuffled, so that every phase reads of every domain.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use coppice_models::init::stream;
use coppice_upcycle::corpus::{Labelled, open};
use rand::seq::SliceRandom;

use super::Passage;
use crate::runner::recipe::TextRecipe;

/// Characters at which a document is cut at its next blank line.
const PIECE: usize = 1000;

/// Real text in memory, in pieces, shuffled.
pub struct Text {
    pub(super) recipe: TextRecipe,
    pub(super) pretrain: Vec<Passage>,
    pub(super) continued: Vec<Passage>,
    pub(super) valid: Vec<Labelled>,
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

fn documents(files: &[PathBuf]) -> Result<Vec<Labelled>> {
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
