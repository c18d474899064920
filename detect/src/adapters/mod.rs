//! Public data sets as records: one small file each, listed once here.
//!
//! A row of a data set becomes one or several [`Item`]s: a response with the labels that people gave it as a whole, or by sentence, claim
//! or span. Questions that a model has yet to answer are items whose record has an empty response. To add a set, write a file with a `Row`,
//! a function that turns it into items, and an [`Adapter`]; then two lines here.

mod begin;
mod counterfact_true_false;
mod entityquestions;
mod factbench_claims;
mod factcheck_gpt;
mod factscore_human;
mod halueval2_human;
mod halueval_general;
mod halueval_qa_seed;
mod item;
mod nq_open;
mod read;
mod refchecker_human;
mod selfcheck_wikibio;
mod simpleqa;
mod triviaqa_3k;
mod true_false_statements;
mod truthfulqa_en;
mod xsum_factuality;
mod xsum_hallucination;

use std::fmt;

pub use item::{Item, Kind, Unit};
pub use read::{RowError, read, read_lines};

/// All data sets, in the order they are listed.
pub const ADAPTERS: &[&Adapter] = &[
    &selfcheck_wikibio::ADAPTER,
    &factscore_human::ADAPTER,
    &refchecker_human::ADAPTER,
    &halueval_general::ADAPTER,
    &halueval_qa_seed::ADAPTER,
    &halueval2_human::ADAPTER,
    &factbench_claims::ADAPTER,
    &factcheck_gpt::ADAPTER,
    &truthfulqa_en::ADAPTER,
    &true_false_statements::ADAPTER,
    &counterfact_true_false::ADAPTER,
    &begin::ADAPTER,
    &xsum_hallucination::ADAPTER,
    &xsum_factuality::ADAPTER,
    &triviaqa_3k::ADAPTER,
    &nq_open::ADAPTER,
    &simpleqa::ADAPTER,
    &entityquestions::ADAPTER,
];

/// How the rows of a data set become items.
pub struct Adapter {
    /// Its name on the command line and in ids: `name/row`.
    pub name: &'static str,
    /// Where its file lies in a folder of shared data.
    pub file: &'static str,
    /// The paper or repository it comes from.
    pub citation: &'static str,
    /// What an item is and what its labels mean, in one line.
    pub summary: &'static str,
    /// Whether several rows judge one response, each by one annotator: they are then merged, by majority.
    pub annotators: bool,
    /// The items of a line of JSON, or what is wrong with it.
    convert: fn(&str) -> Result<Vec<Item>, String>,
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A name that no data set has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown data set `{name}`; did you mean `{nearest}`?")]
pub struct UnknownData {
    /// The name that was asked for.
    pub name: String,
    /// The nearest one there is.
    pub nearest: &'static str,
}

/// The data set of that name.
///
/// # Errors
/// [`UnknownData`] names the nearest one.
pub fn find(name: &str) -> Result<&'static Adapter, UnknownData> {
    let distance = |adapter: &&&Adapter| strsim::damerau_levenshtein(&name.to_lowercase(), adapter.name);
    let nearest = || ADAPTERS.iter().min_by_key(distance).map_or("", |adapter| adapter.name);
    let found = ADAPTERS.iter().copied().find(|adapter| adapter.name == name);
    found.ok_or_else(|| UnknownData { name: name.to_owned(), nearest: nearest() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for adapter in ADAPTERS {
            assert_eq!(ADAPTERS.iter().filter(|other| other.name == adapter.name).count(), 1);
            assert_eq!(find(adapter.name).expect("listed").name, adapter.name);
            assert!(!adapter.citation.is_empty() && !adapter.summary.is_empty());
        }
        assert_eq!(
            find("haluevl_general").expect_err("misspelt").to_string(),
            "unknown data set `haluevl_general`; did you mean `halueval_general`?"
        );
    }
}
