//! People's names, composed of invented parts so that no name is a real person's by design and every part is short.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

const FIRST_STEMS: [&str; 32] = [
    "Al", "Bel", "Cor", "Dav", "El", "Fen", "Gar", "Hal", "Is", "Jan", "Kal", "Lor", "Mar", "Nol", "Or", "Per", "Quin", "Ros", "Sel",
    "Tam", "Ul", "Ver", "Wil", "Yar", "Zan", "Bren", "Cael", "Dor", "Ev", "Greg", "Mel", "Tor",
];
const FEMININE_ENDINGS: [&str; 4] = ["ina", "ella", "isa", "eva"];
const MASCULINE_ENDINGS: [&str; 4] = ["ric", "vin", "don", "mund"];
const LAST_STEMS: [&str; 48] = [
    "Ash", "Bar", "Black", "Brook", "Cold", "Crow", "Dun", "Eagle", "Elm", "Farn", "Fox", "Frost", "Gold", "Grey", "Harrow", "Hart",
    "Hawk", "Hazel", "Heath", "High", "Holm", "Iron", "Ivy", "Kirk", "Lang", "Lark", "Linn", "Long", "Mill", "Moor", "Nettle", "North",
    "Oak", "Pem", "Quill", "Raven", "Red", "Rook", "Salt", "Silver", "Stone", "Thorn", "Under", "Vale", "West", "White", "Wolf", "Yew",
];
const LAST_ENDINGS: [&str; 24] = [
    "acre", "bank", "berg", "bourne", "by", "comb", "croft", "den", "fell", "gate", "grove", "hurst", "ing", "land", "low", "man", "mere",
    "more", "ridge", "shaw", "son", "stead", "well", "worth",
];

/// How many different full names there are.
pub(super) const NAME_SPACE: usize =
    FIRST_STEMS.len() * (FEMININE_ENDINGS.len() + MASCULINE_ENDINGS.len()) * LAST_STEMS.len() * LAST_ENDINGS.len();

/// The pronoun a biography goes on with after the name; it follows from the first name's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pronoun {
    /// She, her.
    She,
    /// He, his.
    He,
}

/// A full name and its pronoun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// First and last name.
    pub full: String,
    /// The pronoun of the first name.
    pub pronoun: Pronoun,
}

impl Name {
    /// The subject of a sentence: the name, or `she` and `he` once the name has been said.
    pub(super) fn subject(&self, introduced: bool) -> &str {
        match (introduced, self.pronoun) {
            (false, _) => &self.full,
            (true, Pronoun::She) => "she",
            (true, Pronoun::He) => "he",
        }
    }

    /// The possessive of a sentence: the name with 's, or `her` and `his` once the name has been said.
    pub(super) fn possessive(&self, introduced: bool) -> String {
        match (introduced, self.pronoun) {
            (false, _) => format!("{}'s", self.full),
            (true, Pronoun::She) => "her".to_owned(),
            (true, Pronoun::He) => "his".to_owned(),
        }
    }
}

/// A name drawn uniformly from the name space.
pub(super) fn draw_name(rng: &mut ChaCha12Rng) -> Name {
    let (pronoun, endings) = if rng.random_bool(0.5) { (Pronoun::She, FEMININE_ENDINGS) } else { (Pronoun::He, MASCULINE_ENDINGS) };
    let mut part = |parts: &[&'static str]| parts[rng.random_range(0..parts.len())];
    let full = format!("{}{} {}{}", part(&FIRST_STEMS), part(&endings), part(&LAST_STEMS), part(&LAST_ENDINGS));
    Name { full, pronoun }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_composition_is_a_different_name() {
        let endings = FEMININE_ENDINGS.iter().chain(&MASCULINE_ENDINGS);
        let first: HashSet<_> = endings.flat_map(|ending| FIRST_STEMS.map(|stem| format!("{stem}{ending}"))).collect();
        let last: HashSet<_> = LAST_ENDINGS.iter().flat_map(|ending| LAST_STEMS.map(|stem| format!("{stem}{ending}"))).collect();
        assert_eq!(first.len() * last.len(), NAME_SPACE);
    }
}
