//! A prompt taken apart: the question, and the labels around it that tell a base model where to answer.

/// Labels that may stand before a question, in lower case.
const LABELS: [&str; 3] = ["question:", "q:", "user:"];
/// Labels of the answer, in lower case.
const ANSWERS: [&str; 3] = ["answer:", "a:", "assistant:"];

/// A prompt: `before`, `question` and `after` make it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt<'a> {
    /// A label such as `Question:` with the white space around it; often empty.
    pub before: &'a str,
    /// What is asked, trimmed.
    pub question: &'a str,
    /// A label such as `Answer:` on its own line with the white space around it; often empty.
    pub after: &'a str,
}

impl<'a> Prompt<'a> {
    /// Takes a prompt apart. A prompt without labels is all question.
    pub fn new(text: &'a str) -> Self {
        let start = text.len() - after_label(text.trim_start()).trim_start().len();
        let end = start + before_answer(&text[start..]).trim_end().len();
        Self { before: &text[..start], question: &text[start..end], after: &text[end..] }
    }

    /// The prompt with another question.
    pub fn with(&self, question: &str) -> String {
        [self.before, question, self.after].concat()
    }
}

fn after_label(text: &str) -> &str {
    let labelled = LABELS.iter().find(|label| text.get(..label.len()).is_some_and(|start| start.eq_ignore_ascii_case(label)));
    labelled.map_or(text, |label| &text[label.len()..])
}

/// The text before its last line, if that is the answer's label.
fn before_answer(text: &str) -> &str {
    let trimmed = text.trim_end();
    match trimmed.rsplit_once('\n') {
        Some((question, line)) if ANSWERS.contains(&line.trim().to_ascii_lowercase().as_str()) => question,
        _ => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_stay_where_they_are() {
        let prompt = Prompt::new("Question: Who was Ada?\nAnswer:");
        assert_eq!((prompt.before, prompt.question, prompt.after), ("Question: ", "Who was Ada?", "\nAnswer:"));
        assert_eq!(prompt.with("Why?"), "Question: Why?\nAnswer:");
        assert_eq!(Prompt::new(" Who? ").question, "Who?");
        assert_eq!(Prompt::new("Give the answer:").question, "Give the answer:");
    }

    proptest! {
        #[test]
        fn the_parts_make_up_the_prompt(text in "(q: |Question:)?[a-zé \n?]{0,30}(\nA:)?[ \n]{0,2}") {
            let prompt = Prompt::new(&text);
            prop_assert_eq!(prompt.with(prompt.question), text.as_str());
        }
    }
}
