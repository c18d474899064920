//! Whether the samples support an answer, sentence by sentence, as the model itself says (SelfCheckGPT's prompt; Manakul et al., arXiv
//! 2303.08896, `modeling_selfcheck_apiprompt.py`).
//!
//! The reference reads up to five tokens of the reply; here the most probable first token decides, so that a whole record is one batch. The
//! prompts of one sample begin alike, and samples of equal text are asked about once.

use std::collections::BTreeMap;

use anyhow::Result;
use coppice_detect::Record;
use coppice_detect::sentences::sentences;
use coppice_models::next_token::next_tokens;

use super::Judging;

/// Of every record, `[sentences][samples]`: 0 supported, 1 not, 0.5 neither said; none without samples or where a prompt does not fit.
pub(super) fn support(asked: &Judging) -> Result<Vec<Option<Vec<Vec<f64>>>>> {
    let asked_of = |record: &Record| if record.samples.is_empty() { Ok(None) } else { of(asked, record) };
    asked.records.iter().map(asked_of).collect()
}

fn of(asked: &Judging, record: &Record) -> Result<Option<Vec<Vec<f64>>>> {
    let told: Vec<&str> = sentences(&record.response).into_iter().filter_map(|range| record.response.get(range)).collect();
    let contexts: Vec<String> = record.sample_texts().iter().map(|text| text.replace('\n', " ")).collect();
    let mut places = BTreeMap::new();
    for context in &contexts {
        let next = places.len();
        places.entry(context.as_str()).or_insert(next);
    }
    let mut distinct: Vec<(&str, usize)> = places.iter().map(|(&context, &place)| (context, place)).collect();
    distinct.sort_by_key(|&(_, place)| place);
    let Some(found) = judge(asked, &distinct, &told)? else { return Ok(None) };
    let of_sentence = |sentence: usize| contexts.iter().map(|context| found[places[context.as_str()]][sentence]).collect();
    Ok(Some((0..told.len()).map(of_sentence).collect()))
}

/// `[contexts][sentences]`.
fn judge(asked: &Judging, contexts: &[(&str, usize)], told: &[&str]) -> Result<Option<Vec<Vec<f64>>>> {
    let group = |context: &str| told.iter().map(|sentence| asked.ids(&prompt(context, sentence))).collect::<Result<Vec<_>>>();
    let groups = contexts.iter().map(|&(context, _)| group(context)).collect::<Result<Vec<_>>>()?;
    let all: Vec<Option<Vec<i64>>> = groups.iter().flatten().cloned().map(Some).collect();
    if asked.fitting(&all, 0).iter().any(Option::is_none) {
        return Ok(None);
    }
    let found = next_tokens(asked.answering.model, &groups, &[], &asked.answering.settings.banned_ids)?;
    let value = |id: i64| Ok(read(&asked.answering.text(&[id])?));
    found.iter().map(|group| group.iter().map(|next| value(next.best)).collect()).collect::<Result<Vec<_>>>().map(Some)
}

fn prompt(context: &str, sentence: &str) -> String {
    format!("Context: {context}\n\nSentence: {sentence}\n\nIs the sentence supported by the context above? Answer Yes or No.\n\nAnswer:")
}

/// What a reply that begins so says: Yes 0, No 1, anything else 0.5. Where tokens are shorter than words, their beginning is enough.
fn read(reply: &str) -> f64 {
    let reply = reply.trim().to_lowercase();
    let says = |word: &str| !reply.is_empty() && (reply.starts_with(word) || word.starts_with(&reply));
    if says("yes") {
        0.0
    } else if says("no") {
        1.0
    } else {
        0.5
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn replies_are_read_as_the_reference_does() {
        assert_eq!([" Yes", "yes", "YES.", "Y"].map(read), [0.0; 4]);
        assert_eq!([" No", "no,", "Not", "N"].map(read), [1.0; 4]);
        assert_eq!(["", " ", "It", "Maybe", "ja"].map(read), [0.5; 5]);
    }
}
