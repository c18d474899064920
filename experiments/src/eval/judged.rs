//! Conversations that another model marks: the model answers turn by turn in its chat template, a judge at a server reads each answer and gives
//! a mark in double brackets (MT-Bench, arXiv 2306.05685, single-answer grading).

use std::sync::Arc;

use anyhow::Result;
use coppice_detect::server::{Ask, Input, Remote, each};
use coppice_models::chat::{ChatTemplate, Message};
use regex::Regex;
use serde_json::json;

use super::cache::{Answer, key};
use super::generation::Asked;
use super::items::Item;
use super::metric::Metric;
use super::metrics::Value;
use super::run::{Evaluator, Marked, Marks, Prepared};
use super::template::Templates;
use crate::common::{Interrupted, check_interrupt, progress};

/// Tokens that a judgement may take.
const JUDGEMENT: usize = 2048;
/// How a mark is written; single brackets count where there are no double ones.
const MARKS: [&str; 2] = [r"\[\[(\d+\.?\d*)\]\]", r"\[(\d+\.?\d*)\]"];

/// A judge and how many questions it gets at once.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The model that judges.
    pub remote: Arc<Remote>,
    /// Questions at once.
    pub concurrency: usize,
}

/// A conversation as far as it has come.
struct Talk {
    turns: Vec<String>,
    answers: Vec<String>,
    judgements: Vec<String>,
    cut: usize,
}

type Talks = Vec<Result<Talk, String>>;

/// Answers and marks every item.
///
/// # Errors
/// When the user interrupts, the model fails, or an answer cannot be kept. A judge that does not answer is an outcome of the item.
pub fn evaluate(evaluator: &mut Evaluator, prepared: &Prepared, chat: &ChatTemplate, judge: &Judge) -> Result<Vec<Marked>> {
    let templates = Templates::default();
    let mut talks: Talks = prepared.items.iter().map(|item| begun(prepared, item, &templates)).collect();
    let turns = talks.iter().flatten().map(|talk| talk.turns.len()).max().unwrap_or(0);
    for turn in 0..turns {
        answer(evaluator, prepared, chat, &mut talks, turn)?;
    }
    for turn in 0..turns {
        judged(evaluator, prepared, judge, &templates, &mut talks, turn)?;
    }
    Ok(talks.into_iter().map(marked).collect())
}

fn begun(prepared: &Prepared, item: &Item, templates: &Templates) -> Result<Talk, String> {
    if let Some(why) = item.question.as_ref().err().filter(|why| !why.is_empty()) {
        return Err(why.clone());
    }
    let expression = prepared.task.prompt.turns.as_deref().unwrap_or("none");
    let turns = templates.texts(expression, &super::template::columns(&item.row)).map_err(|why| format!("`turns`: {why}"))?;
    let (answers, judgements) = (Vec::new(), Vec::new());
    if turns.is_empty() { Err("the conversation has no turn".into()) } else { Ok(Talk { turns, answers, judgements, cut: 0 }) }
}

/// Has the model answer one turn of every conversation that has it.
fn answer(evaluator: &mut Evaluator, prepared: &Prepared, chat: &ChatTemplate, talks: &mut Talks, turn: usize) -> Result<()> {
    let new = prepared.task.prompt.max_new_tokens;
    let mut open = Vec::new();
    for (place, entry) in talks.iter_mut().enumerate() {
        let Ok(talk) = entry else { continue };
        match (turn < talk.turns.len()).then(|| prompt(evaluator, chat, talk, new)) {
            None => (),
            Some(Err(why)) => *entry = Err(why),
            Some(Ok((ids, cut))) => {
                talk.cut = talk.cut.max(cut);
                open.push((place, key(&("turn", &ids, new))?, ids));
            }
        }
    }
    let asked: Vec<_> = open.iter().filter(|(_, key, _)| evaluator.cache.get(key).is_none()).collect();
    let (keys, asked): (Vec<String>, Vec<Asked>) =
        asked.into_iter().map(|(_, key, ids)| (key.clone(), Asked { ids: ids.clone(), until: prepared.task.prompt.until.clone() })).unzip();
    let bar = progress(asked.len() as u64, &format!("{}: turn {}", prepared.name, turn + 1));
    evaluator.write_all(&asked, new, &keys, &bar)?;
    bar.finish_and_clear();
    for (place, key, _) in &open {
        let text = evaluator.cache.get(key).and_then(|answer| answer.texts.first()).cloned().unwrap_or_default();
        talks[*place].iter_mut().for_each(|talk| talk.answers.push(text.clone()));
    }
    Ok(())
}

fn prompt(evaluator: &Evaluator, chat: &ChatTemplate, talk: &Talk, new: usize) -> Result<(Vec<i64>, usize), String> {
    let mut messages = Vec::new();
    for (turn, answer) in talk.turns.iter().zip(&talk.answers) {
        messages.extend([Message::new("user", turn), Message::new("assistant", answer)]);
    }
    messages.extend(talk.turns.get(talk.answers.len()).map(|turn| Message::new("user", turn)));
    let text = chat.render(&messages, true).map_err(|error| error.to_string())?;
    evaluator.encoder.prompt(&text, new)
}

/// Has the judge read one answer of every conversation.
fn judged(
    evaluator: &mut Evaluator,
    prepared: &Prepared,
    judge: &Judge,
    templates: &Templates,
    talks: &mut Talks,
    turn: usize,
) -> Result<()> {
    let mut open = Vec::new();
    for (place, (item, entry)) in prepared.items.iter().zip(talks.iter_mut()).enumerate() {
        let Ok(talk) = entry else { continue };
        match (turn < talk.turns.len()).then(|| question(prepared, item, talk, templates, turn)) {
            None => (),
            Some(Err(why)) => *entry = Err(why),
            Some(Ok(text)) => open.push((place, key(&("judge", judge.remote.model(), &text))?, text)),
        }
    }
    let (asked, known): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, key, _)| evaluator.cache.get(key).is_none());
    let mut answers: Vec<(usize, Result<String, String>)> = known
        .into_iter()
        .map(|(place, key, _)| {
            (place, Ok(evaluator.cache.get(&key).and_then(|answer| answer.judgements.first()).cloned().unwrap_or_default()))
        })
        .collect();
    answers.extend(ask(evaluator, judge, asked, &prepared.name)?);
    for (place, answer) in answers {
        match answer {
            Err(why) => talks[place] = Err(format!("turn {}: the judge: {why}", turn + 1)),
            Ok(text) => talks[place].iter_mut().for_each(|talk| talk.judgements.push(text.clone())),
        }
    }
    Ok(())
}

/// The judge's question: its template over the row, the `turns` and the `answers` so far.
fn question(prepared: &Prepared, item: &Item, talk: &Talk, templates: &Templates, turn: usize) -> Result<String, String> {
    let mut row = item.row.clone();
    row.insert("turns".to_owned(), json!(talk.turns));
    row.insert("answers".to_owned(), json!(talk.answers.get(..=turn).unwrap_or(&talk.answers)));
    let all = &prepared.task.prompt.judge;
    let template = all.get(turn).or(all.last()).ok_or("`judge` is empty")?;
    templates.text(template, &super::template::columns(&row)).map_err(|why| format!("`judge`: {why}"))
}

fn ask(
    evaluator: &mut Evaluator,
    judge: &Judge,
    asked: Vec<(usize, String, String)>,
    name: &str,
) -> Result<Vec<(usize, Result<String, String>)>> {
    let bar = progress(asked.len() as u64, &format!("{name}: judge"));
    let (remote, texts) = (Arc::clone(&judge.remote), asked.iter().map(|(_, _, text)| text.clone()).collect::<Vec<_>>());
    let results = each(texts.len(), judge.concurrency, move |index| {
        let input = Input::Text(texts.get(index).cloned().unwrap_or_default());
        let ask = Ask { input, answers: 1, temperature: 0.0, max_tokens: JUDGEMENT, seed: 0, top_logprobs: None };
        remote.answers(&ask).map(|answers| answers.into_iter().next().unwrap_or_default().text)
    });
    let mut all = Vec::new();
    for (index, result) in results {
        check_interrupt().map_err(|_| Interrupted::Journal)?;
        let result = result.map_err(|error| error.to_string()).and_then(|text| mark(&text).map(|_| text));
        if let Ok(text) = &result {
            evaluator.cache.keep(vec![(asked[index].1.clone(), Answer { judgements: vec![text.clone()], ..Answer::default() })])?;
        }
        all.push((asked[index].0, result));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all)
}

/// The mark in a judgement.
fn mark(text: &str) -> Result<f64, String> {
    let found = MARKS.iter().find_map(|mark| Regex::new(mark).ok()?.captures(text)?.get(1)?.as_str().parse::<f64>().ok());
    found.filter(|mark| (1.0..=10.0).contains(mark)).ok_or_else(|| "it gives no mark from 1 to 10 in double brackets".to_owned())
}

fn marked(talk: Result<Talk, String>) -> Marked {
    let cut = talk.as_ref().map_or(0, |talk| talk.cut);
    let outcome = talk.and_then(|talk| {
        let marks = talk.judgements.iter().map(|text| mark(text)).collect::<Result<Vec<f64>, String>>()?;
        Ok((Answer { texts: talk.answers, judgements: talk.judgements, ..Answer::default() }, named(&marks)))
    });
    Marked { cut, outcome }
}

/// The mean of the turns, and each turn by itself.
fn named(marks: &[f64]) -> Marks {
    let name = Metric::Rating.name();
    let mean = marks.iter().sum::<f64>() / marks.len() as f64;
    let turns = marks.iter().zip(1..).map(|(&mark, turn)| (format!("{name},turn-{turn}"), Metric::Rating, Value::mark(mark)));
    std::iter::once((name.to_owned(), Metric::Rating, Value::mark(mean))).chain(turns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_in_brackets() {
        assert_eq!(mark("Good. Rating: [[7]]"), Ok(7.0));
        assert_eq!(mark("[1] is wrong. Rating: [[8.5]]."), Ok(8.5));
        assert_eq!(mark("Rating: [3]"), Ok(3.0));
        assert!(mark("Rating: 7").is_err() && mark("[[11]]").is_err() && mark("[[0]]").is_err());
    }

    #[test]
    fn turns_have_figures_of_their_own() {
        let marks: Vec<(String, f64)> = named(&[4.0, 7.0]).into_iter().map(|(name, _, value)| (name, value.value)).collect();
        assert_eq!(marks, [("rating".into(), 5.5), ("rating,turn-1".into(), 4.0), ("rating,turn-2".into(), 7.0)]);
    }
}
