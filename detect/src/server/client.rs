//! HTTP: one request, one bounded answer of JSON, every failure named.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderName, HeaderValue, Request, Response};
use ureq::{Agent, Body};

use super::address;
use super::error::ServerError;
use super::retry::{Retry, retry_after};

/// Most bytes read of an answer that reports an error, or lists models.
const SMALL: u64 = 1 << 20;
/// Longest part of a server's own words that is repeated, characters.
const LONGEST_QUOTE: usize = 240;

/// How a server is reached.
#[derive(Clone)]
pub struct Access {
    /// Base address; a host alone gets `/v1`.
    pub address: String,
    /// Sent as a bearer token; never shown or written.
    pub key: Option<String>,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// What is done about failures that may pass.
    pub retry: Retry,
}

/// A server with OpenAI's HTTP interface.
pub struct Server {
    agent: Agent,
    base: String,
    access: Access,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, key, timeout, retry } = self;
        let key = key.as_ref().map(|_| "...");
        f.debug_struct("Access").field("address", address).field("key", &key).field("timeout", timeout).field("retry", retry).finish()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("base", &self.base).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Server {
    /// A server by its address. Redirects are not followed: the key and the prompts are for the one that was named.
    ///
    /// # Errors
    /// When the address is none, or the key cannot be sent.
    pub fn new(access: Access) -> Result<Self, ServerError> {
        let base = address::base(&access.address)?;
        let header = |key: &String| HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ServerError::Key);
        let authorization = access.key.as_ref().map(header).transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("coppice/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(access.timeout.min(Duration::from_secs(20))))
            .timeout_global(Some(access.timeout));
        Ok(Self { agent: config.build().into(), base, authorization, access })
    }

    /// The base address, which never holds a key.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What is done about failures that may pass.
    pub(super) fn retry(&self) -> Retry {
        self.access.retry
    }

    /// One `POST` without a second try; at most `limit` bytes of answer.
    ///
    /// # Errors
    /// Any but [`ServerError::GaveUp`].
    pub(super) fn post(&self, path: &str, body: &Value, limit: u64) -> Result<Value, ServerError> {
        let url = format!("{}/{path}", self.base);
        let request = self.request(Request::post(&url)).header(CONTENT_TYPE, "application/json");
        let request = request.body(body.to_string()).map_err(|error| unsendable(&url, &error))?;
        self.read(&url, self.agent.run(request), limit)
    }

    /// One `GET` without a second try.
    ///
    /// # Errors
    /// As [`Server::post`].
    pub(super) fn get(&self, path: &str, timeout: Duration) -> Result<Value, ServerError> {
        let url = format!("{}/{path}", self.base);
        let request = self.request(Request::get(&url)).body(()).map_err(|error| unsendable(&url, &error))?;
        let request = self.agent.configure_request(request).timeout_global(Some(timeout.min(self.access.timeout))).build();
        self.read(&url, self.agent.run(request), SMALL)
    }

    fn request(&self, request: ureq::http::request::Builder) -> ureq::http::request::Builder {
        match &self.authorization {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
    }

    fn read(&self, url: &str, sent: Result<Response<Body>, ureq::Error>, limit: u64) -> Result<Value, ServerError> {
        let mut response = sent.map_err(|error| self.failed(url, &error, limit))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(ServerError::Redirect { url: url.to_owned(), to: header(&response, &LOCATION).unwrap_or_default() });
        }
        let most = if status.is_success() { limit } else { SMALL };
        let read = response.body_mut().with_config().limit(most).read_to_vec();
        if status.is_success() {
            return parsed(url, &read.map_err(|error| self.failed(url, &error, limit))?).map_err(|error| self.discreet(error));
        }
        let wait = header(&response, &RETRY_AFTER).and_then(|value| retry_after(&value, SystemTime::now()));
        let told = told(&read.unwrap_or_default());
        Err(self.discreet(ServerError::Status { url: url.to_owned(), status: status.as_u16(), told, wait }))
    }

    /// An error without the key, should the server have repeated it.
    fn discreet(&self, error: ServerError) -> ServerError {
        let hide = |text: String| match self.access.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => text.replace(key, "..."),
            None => text,
        };
        match error {
            ServerError::Status { url, status, told, wait } => ServerError::Status { url, status, told: hide(told), wait },
            ServerError::Malformed { url, why } => ServerError::Malformed { url, why: hide(why) },
            other => other,
        }
    }

    fn failed(&self, url: &str, error: &ureq::Error, limit: u64) -> ServerError {
        let (url, reason) = (url.to_owned(), error.to_string());
        match error {
            ureq::Error::Timeout(_) => ServerError::Timeout { url, seconds: self.access.timeout.as_secs_f64() },
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                ServerError::Timeout { url, seconds: self.access.timeout.as_secs_f64() }
            }
            ureq::Error::BodyExceedsLimit(_) => ServerError::TooLarge { url, limit },
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => ServerError::Unreachable { url, reason },
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => ServerError::Unreachable { url, reason },
            ureq::Error::Io(_) => ServerError::CutOff { url, reason },
            _ => ServerError::Malformed { url, why: reason },
        }
    }
}

fn unsendable(url: &str, error: &ureq::http::Error) -> ServerError {
    ServerError::Malformed { url: url.to_owned(), why: format!("the request cannot be sent ({error})") }
}

fn header(response: &Response<Body>, name: &HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// The JSON of an answer; one that ends in its middle was cut off.
fn parsed(url: &str, bytes: &[u8]) -> Result<Value, ServerError> {
    let (url, text) = (url.to_owned(), String::from_utf8_lossy(bytes));
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if value.get("error").is_some_and(|error| !error.is_null()) => Err(ServerError::Malformed { url, why: told(bytes) }),
        Ok(value) => Ok(value),
        Err(error) if error.is_eof() => Err(ServerError::CutOff { url, reason: "the JSON ends in its middle".to_owned() }),
        Err(_) if text.trim_start().starts_with('<') => Err(ServerError::Malformed { url, why: "a web page, not JSON".to_owned() }),
        Err(error) => {
            let nan = ["NaN", "Infinity"].iter().any(|name| text.contains(name));
            let hint = if nan { " (it holds NaN or Infinity, which JSON has not)" } else { "" };
            Err(ServerError::Malformed { url, why: format!("no JSON: {error}{hint}") })
        }
    }
}

/// What a server says of an error: the message where there is one, else the text's beginning.
fn told(bytes: &[u8]) -> String {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let places = ["/error/message", "/error", "/message", "/detail"];
    let said =
        places.iter().find_map(|place| value.pointer(place)).map(|said| said.as_str().map_or_else(|| said.to_string(), str::to_owned));
    let text = said.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    match text.trim() {
        "" => "no explanation".to_owned(),
        page if page.starts_with('<') => "a web page".to_owned(),
        words => words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_QUOTE).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let access = Access {
            address: "http://localhost:1".into(),
            key: Some("sk-very-secret".into()),
            timeout: Duration::from_secs(1),
            retry: Retry::default(),
        };
        let server = Server::new(access.clone()).expect("a fine address");
        assert!(!format!("{access:?} {server:?}").contains("secret"));
        let echoed = ServerError::Status { url: String::new(), status: 401, told: "no key sk-very-secret here".into(), wait: None };
        assert!(!server.discreet(echoed).to_string().contains("secret"));
        assert_eq!(Server::new(Access { key: Some("two\nlines".into()), ..access }).err(), Some(ServerError::Key));
    }

    #[test]
    fn says_what_a_server_said() {
        assert_eq!(told(br#"{"error":{"message":"no  such\nmodel"}}"#), "no such model");
        assert_eq!(told(br#"{"detail":[{"loc":"n"}]}"#), r#"[{"loc":"n"}]"#);
        assert_eq!(told(b"<html>Bad gateway</html>"), "a web page");
        assert_eq!(told(b" "), "no explanation");
        assert_eq!(told("\u{e9}".repeat(9000).as_bytes()).chars().count(), LONGEST_QUOTE);
    }
}
