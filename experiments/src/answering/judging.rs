//! Asking the model what it thinks of its own answers.
//!
//! Questions that do not fit the context stay unanswered, and stderr says how many. Where the model is asked in a chat template, these
//! questions are too.

mod confidence;
mod support;

use anyhow::Result;
use coppice_detect::Record;
use coppice_detect::record::Judged;
use coppice_models::next_token::continuation_logprobs;

use super::Answering;
use crate::output;

/// Judges every record; `questions` are the prompts without template.
pub(super) fn judge(answering: &Answering, questions: &[&str], records: &mut [Record]) -> Result<()> {
    let asked = Judging { answering, questions, records };
    let plain = asked.p_true(|question, record| Some(p_true(question, &record.response)))?;
    let beside = asked.p_true(p_true_sampling)?;
    let named = confidence::verbalised(&asked)?;
    let supported = support::support(&asked)?;
    let given = plain.into_iter().zip(beside).zip(named).zip(supported);
    for (record, (((p_true, p_true_sampling), verbalised), support)) in records.iter_mut().zip(given) {
        record.judged = Some(Judged { p_true, p_true_sampling, verbalised, support });
    }
    Ok(())
}

/// The prompt of lm-polygraph 0.7 (`stat_calculators/prompt.py`; Kadavath et al., arXiv 2207.05221).
fn p_true(question: &str, answer: &str) -> String {
    format!("Question: {question}\n Possible answer:{answer}\n {CHOICE}")
}

/// The same with the samples shown; none where there are no samples.
fn p_true_sampling(question: &str, record: &Record) -> Option<String> {
    let ideas = record.sample_texts().join(", ");
    let shown = format!(
        "Question: {question}\n Here are some ideas that were brainstormed: {ideas}\n Possible answer:{}\n {CHOICE}",
        record.response
    );
    (!record.samples.is_empty()).then_some(shown)
}

const CHOICE: &str = "Is the possible answer:\n (A) True\n (B) False\n The possible answer is:";

/// Answers to be judged.
struct Judging<'a> {
    answering: &'a Answering<'a>,
    questions: &'a [&'a str],
    records: &'a [Record],
}

impl Judging<'_> {
    /// Probability that the model goes on with True after the prompt made of each record. lm-polygraph asks for the token that its tokenizer
    /// makes of the bare word, which has a space before it in SentencePiece and none in byte-level ones; here both count.
    fn p_true(&self, prompt: impl Fn(&str, &Record) -> Option<String>) -> Result<Vec<Option<f64>>> {
        let texts = self.questions.iter().zip(self.records).map(|(question, record)| prompt(question, record));
        let prompts = texts.map(|text| text.map(|text| self.ids(&text)).transpose()).collect::<Result<Vec<_>>>()?;
        let words = ["True", " True"].iter().map(|word| self.answering.encode(word)).collect::<Result<Vec<_>>>()?;
        let longest = words.iter().map(Vec::len).max().unwrap_or(0);
        let fitting = self.fitting(&prompts, longest);
        let told: Vec<Vec<i64>> = fitting.iter().flatten().cloned().collect();
        let mut found = continuation_logprobs(self.answering.model, &told, &words)?.into_iter();
        let total = |logprobs: Vec<f64>| logprobs.iter().map(|logprob| logprob.exp()).sum::<f64>().min(1.0);
        Ok(fitting.into_iter().map(|prompt| prompt.and_then(|_| found.next()).map(total)).collect())
    }

    /// The ids of a question as this model is asked.
    fn ids(&self, text: &str) -> Result<Vec<i64>> {
        self.answering.encode(&self.answering.told(text)?)
    }

    /// The prompts that leave room for `answer` tokens; says how many do not.
    fn fitting(&self, prompts: &[Option<Vec<i64>>], answer: usize) -> Vec<Option<Vec<i64>>> {
        let limit = self.answering.model.config.max_position_embeddings;
        let fits = |prompt: &Vec<i64>| (prompt.len() + answer) as i64 <= limit;
        let too_long = prompts.iter().flatten().filter(|prompt| !fits(prompt)).count();
        if too_long > 0 {
            output::say(format!("{too_long} questions about answers exceed this model's context of {limit} tokens and stay unanswered"));
        }
        prompts.iter().map(|prompt| prompt.clone().filter(fits)).collect()
    }
}
