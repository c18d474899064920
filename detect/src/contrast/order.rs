//! The same parts in another order: lines of options (each with its letter, so that a letter still means the same answer), sentences before the
//! question, and a leading clause.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Prompt, Variation, draw};
use crate::record::Variant;
use crate::sentences::parts;

/// Beginnings of a clause that may as well stand at the end of its question.
const CLAUSES: [&str; 10] = ["In ", "On ", "At ", "During ", "After ", "Before ", "Since ", "According to ", "For ", "From "];

/// Another order of options, sentences or clauses.
pub(super) struct Order;

impl Variation for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn summary(&self) -> &'static str {
        "options, sentences or clauses in another order"
    }

    fn vary(&self, prompt: &Prompt<'_>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant> {
        let shuffles = (0..4 * count).filter_map(|_| options(prompt.question, rng).or_else(|| context(prompt.question, rng)));
        let wordings = shuffles.chain(clause_last(prompt.question)).collect();
        draw(self.name(), prompt, wordings, count, rng)
    }
}

/// The lines of options shuffled among their places; `None` below two.
fn options(question: &str, rng: &mut ChaCha8Rng) -> Option<String> {
    let mut lines: Vec<&str> = question.lines().collect();
    let places: Vec<usize> = (0..lines.len()).filter(|&place| is_option(lines[place])).collect();
    let mut shuffled: Vec<&str> = places.iter().map(|&place| lines[place]).collect();
    shuffled.shuffle(rng);
    places.iter().zip(shuffled).for_each(|(&place, line)| lines[place] = line);
    (places.len() > 1).then(|| lines.join("\n"))
}

/// Whether a line begins with a letter or number as `A)`, `(b)`, `C.` or `1:`, or with a dash.
fn is_option(line: &str) -> bool {
    let line = line.trim_start();
    let name: String = line.trim_start_matches('(').chars().take_while(char::is_ascii_alphanumeric).collect();
    let after = line.trim_start_matches('(')[name.len()..].chars().next();
    let named =
        (name.len() == 1 || name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_digit())) && matches!(after, Some(')' | '.' | ':'));
    named || line.starts_with("- ") || line.starts_with("* ")
}

/// The sentences before the last one shuffled; `None` below two, or where lines matter.
fn context(question: &str, rng: &mut ChaCha8Rng) -> Option<String> {
    let mut all: Vec<&str> = parts(question).collect();
    let last = all.pop().filter(|_| all.len() > 1 && !question.contains('\n'))?;
    all.shuffle(rng);
    all.push(last);
    Some(all.join(" "))
}

/// `In 1990, who won?` as `Who won, in 1990?`.
fn clause_last(question: &str) -> Option<String> {
    let (clause, rest) = question.strip_suffix('?')?.split_once(", ")?;
    let fits = CLAUSES.iter().any(|beginning| clause.starts_with(beginning)) && !rest.contains(['?', '.', '\n']);
    fits.then(|| format!("{}, {}?", with_first(rest, char::to_ascii_uppercase), with_first(clause, char::to_ascii_lowercase)))
}

fn with_first(text: &str, change: fn(&char) -> char) -> String {
    let mut chars = text.chars();
    chars.next().iter().map(change).chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn vary(question: &str) -> Vec<String> {
        let variants = Order.vary(&Prompt::new(question), 10, &mut ChaCha8Rng::seed_from_u64(1));
        variants.into_iter().map(|variant| variant.prompt).collect()
    }

    #[test]
    fn options_keep_their_letters() {
        let mut found = vary("Where is Rome?\nA) Italy\nB) France\nAnswer:");
        assert_eq!(found.pop().as_deref(), Some("Where is Rome?\nB) France\nA) Italy\nAnswer:"));
        assert!(found.is_empty());
    }

    #[test]
    fn the_question_stays_behind_its_context() {
        assert_eq!(vary("Ada was born. Ada studied. Where?"), ["Ada studied. Ada was born. Where?"]);
        assert_eq!(vary("In 1990, who won the cup?"), ["Who won the cup, in 1990?"]);
        assert!(vary("Who won the cup?").is_empty());
    }
}
