//! A model at a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use super::answer::Answer;
use super::ask::{Ask, Endpoint};
use super::client::Server;
use super::error::ServerError;
use super::kind::Kind;

/// Longest wait for the list of models.
const LISTING: Duration = Duration::from_secs(10);

/// A model at a server, asked through one endpoint.
#[derive(Debug)]
pub struct Remote {
    server: Server,
    model: String,
    endpoint: Endpoint,
    kind: Kind,
    extra: Map<String, Value>,
    /// The server has shown that it gives one answer a request.
    singly: AtomicBool,
}

impl Remote {
    /// A model by name; without one, the only model of the server. `extra` goes over the fields of every request.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the key, or the model is not named and not the only one. A server that cannot list its
    /// models is taken at its word.
    pub fn open(server: Server, model: Option<String>, endpoint: Endpoint, extra: Map<String, Value>) -> Result<Self, ServerError> {
        let listed = match server.get("models", LISTING) {
            Ok(models) => models,
            Err(error) if error.is_unreachable() || matches!(error, ServerError::Status { status: 401 | 403, .. }) => return Err(error),
            Err(_) => Value::Null,
        };
        let kind = Kind::of(&listed);
        let model = model.or_else(|| only(&listed)).ok_or_else(|| ServerError::ModelNotNamed(names(&listed)))?;
        Ok(Self { server, model, endpoint, kind, extra, singly: AtomicBool::new(false) })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The endpoint it is asked through.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// As many answers as asked for. A server that gives one answer a request is asked again and again, with seeds counted on.
    ///
    /// # Errors
    /// When a request fails for good, or the answers lack the log-probabilities that were asked for.
    pub fn answers(&self, ask: &Ask) -> Result<Vec<Answer>, ServerError> {
        let mut answers = if ask.answers > 1 && !self.singly.load(Ordering::Relaxed) { self.several(ask)? } else { Vec::new() };
        while answers.len() < ask.answers {
            let seed = ask.seed.wrapping_add(answers.len() as u64);
            let one = Ask { answers: 1, seed, ..ask.clone() };
            answers.extend(self.server.retry().run(|| self.once(&one))?.into_iter().take(1));
        }
        Ok(answers)
    }

    /// All answers of one request, or as many as the server gave; none where it seems to refuse several.
    fn several(&self, ask: &Ask) -> Result<Vec<Answer>, ServerError> {
        let mut refused = false;
        let asked = self.server.retry().run(|| match self.once(ask) {
            Err(error) if error.may_refuse_several() => {
                refused = true;
                self.singly.fetch_or(!error.is_transient(), Ordering::Relaxed);
                Ok(Vec::new())
            }
            other => other,
        });
        let mut answers = asked?;
        self.singly.fetch_or(!refused && answers.len() < ask.answers, Ordering::Relaxed);
        answers.truncate(ask.answers);
        Ok(answers)
    }

    fn once(&self, ask: &Ask) -> Result<Vec<Answer>, ServerError> {
        let body = ask.body(&self.model, self.endpoint, self.kind, &self.extra)?;
        let url = || format!("{}/{}", self.server.base(), self.endpoint.path());
        let told = self.server.post(self.endpoint.path(), &body, ask.limit())?;
        let answers = Answer::all(told).map_err(|why| ServerError::Malformed { url: url(), why })?;
        if answers.is_empty() {
            return Err(ServerError::Malformed { url: url(), why: "`choices` is empty".to_owned() });
        }
        if ask.top_logprobs.is_some() && answers.iter().any(|answer| answer.trace.is_none()) {
            return Err(ServerError::NoLogprobs);
        }
        Ok(answers)
    }
}

fn ids(models: &Value) -> impl Iterator<Item = &str> {
    let listed = models.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(|model| model.get("id")?.as_str())
}

fn only(models: &Value) -> Option<String> {
    let mut ids = ids(models);
    ids.next().filter(|_| ids.next().is_none()).map(str::to_owned)
}

fn names(models: &Value) -> String {
    let names: Vec<&str> = ids(models).take(8).collect();
    if names.is_empty() { "none that it tells".to_owned() } else { names.join(", ") }
}
