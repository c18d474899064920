//! A prompt as the user wrote it, and as the model is told it.

use anyhow::Result;
use coppice_models::chat::{ChatTemplate, Message};

use super::Answering;

/// A prompt, ready to be answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What is asked, without template.
    pub question: String,
    /// What the model is told.
    pub text: String,
    /// The ids of that.
    pub ids: Vec<i64>,
}

/// The form a tuned model is asked in.
#[derive(Debug, Clone)]
pub struct Chat {
    /// The checkpoint's template.
    pub template: ChatTemplate,
    /// The system's turn, where there is one.
    pub system: Option<String>,
}

impl Chat {
    /// A conversation of user and assistant by turns, up to where the assistant goes on.
    ///
    /// # Errors
    /// When the template refuses it.
    pub fn render(&self, turns: &[&str]) -> Result<String> {
        let system = self.system.iter().map(|system| Message::new("system", system));
        let told = turns.iter().zip(["user", "assistant"].iter().cycle()).map(|(turn, role)| Message::new(*role, *turn));
        Ok(self.template.render(&system.chain(told).collect::<Vec<_>>(), true)?)
    }
}

impl Answering<'_> {
    /// A prompt in the form this model is asked in.
    ///
    /// # Errors
    /// When the template refuses it, or there is no tokenizer.
    pub fn asked(&self, question: &str) -> Result<Asked> {
        let text = self.told(question)?;
        Ok(Asked { question: question.to_owned(), ids: self.encode(&text)?, text })
    }

    /// A prompt of ids.
    ///
    /// # Errors
    /// When the tokenizer refuses them.
    pub fn asked_ids(&self, ids: &[i64]) -> Result<Asked> {
        Ok(Asked { question: self.text(ids)?, text: format!("{ids:?}"), ids: ids.to_vec() })
    }

    /// A user's turn as the model is told it.
    pub(super) fn told(&self, question: &str) -> Result<String> {
        self.chat.as_ref().map_or_else(|| Ok(question.to_owned()), |chat| chat.render(&[question]))
    }
}
