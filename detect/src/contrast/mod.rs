//! Contrastive evaluation: the same question put in other ways. An answer that changes with the wording was not known.
//!
//! Every kind of [`Variation`] is one file, listed once in [`registry`]. [`variants`] makes the wordings; a generator fills in their answers, and
//! the scores `variant_agreement`, `variant_entropy` and `within_across_gap` read them from the record's `variants`. The rewritings know English
//! questions; where a kind finds nothing to vary it makes nothing.

mod irrelevant;
mod language;
mod order;
mod paraphrase;
mod persona;
mod prompt;
mod temperature;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::record::Variant;
pub use prompt::Prompt;

/// A way of putting the same question differently.
pub trait Variation: Sync {
    /// Its name, the `kind` of its variants.
    fn name(&self) -> &'static str;
    /// What it changes, in one line.
    fn summary(&self) -> &'static str;
    /// At most `count` distinct variants without answers, none of them the prompt itself; the generator alone decides which.
    fn vary(&self, prompt: &Prompt<'_>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant>;
}

/// A name that no kind of variation has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown variation `{name}`; there are {known}")]
pub struct UnknownVariation {
    /// The name that was asked for.
    pub name: String,
    /// Those there are.
    pub known: String,
}

/// All kinds of variation, in the order they are listed.
pub fn registry() -> &'static [&'static dyn Variation] {
    &[&paraphrase::Paraphrase, &order::Order, &irrelevant::Irrelevant, &language::Language, &persona::Persona, &temperature::Temperature]
}

/// The kind of that name.
///
/// # Errors
/// [`UnknownVariation`] lists those there are.
pub fn find(name: &str) -> Result<&'static dyn Variation, UnknownVariation> {
    let known = || registry().iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    registry().iter().copied().find(|kind| kind.name() == name).ok_or_else(|| UnknownVariation { name: name.to_owned(), known: known() })
}

/// At most `count` variants of a prompt of each kind, in the order of the kinds. The same seed makes the same variants of a kind, whichever other
/// kinds are asked for.
pub fn variants(prompt: &str, kinds: &[&dyn Variation], count: usize, seed: u64) -> Vec<Variant> {
    let parsed = Prompt::new(prompt);
    let of_kind = |kind: &&dyn Variation| kind.vary(&parsed, count, &mut ChaCha8Rng::seed_from_u64(seed));
    kinds.iter().flat_map(of_kind).collect()
}

/// At most `count` of the wordings, drawn without repetition, as variants; those that equal the prompt are passed over.
fn draw(kind: &str, prompt: &Prompt<'_>, mut wordings: Vec<String>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant> {
    wordings.sort_unstable();
    wordings.dedup();
    wordings.retain(|wording| wording != prompt.question);
    wordings.shuffle(rng);
    let variant = |wording: &String| Variant { prompt: prompt.with(wording), kind: Some(kind.to_owned()), ..Variant::default() };
    wordings.iter().take(count).map(variant).collect()
}

/// The question set into each frame, at its `{}`.
fn framed(frames: &[&str], question: &str) -> Vec<String> {
    frames.iter().map(|frame| frame.replacen("{}", question, 1)).collect()
}
