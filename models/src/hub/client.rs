//! HTTP to the Hub: one request at a time, redirects followed by hand so that the token goes to the endpoint and nowhere else.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, LOCATION, RANGE};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use ureq::{Agent, Body};

use super::env::Settings;
use super::error::HubError;
use super::names::{RepoId, check_etag};

/// What stays readable in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Redirects followed before giving up.
const MAX_HOPS: usize = 8;
/// The largest list of files accepted, in bytes.
const MAX_LISTING: u64 = 16 << 20;

/// An HTTP client bound to one endpoint.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<HeaderValue>,
}

/// A revision as the Hub describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// The commit.
    pub(super) sha: String,
    /// All files.
    pub(super) siblings: Vec<Sibling>,
}

/// One file of a [`Listing`].
#[derive(Debug, Deserialize)]
pub(super) struct Sibling {
    /// Path from the repository's root.
    pub(super) rfilename: String,
}

/// What a file is, before its bytes are fetched.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// SHA-256 of an LFS file, git's SHA-1 of another.
    pub(super) etag: String,
    /// Size in bytes, where the server tells.
    pub(super) size: Option<u64>,
}

impl Client {
    pub(super) fn new(settings: &Settings, token: Option<&str>) -> Result<Self, HubError> {
        let bad = |what: &str| HubError::Settings(format!("{what} holds characters that cannot be sent"));
        origin(&settings.endpoint)
            .ok_or_else(|| HubError::Settings(format!("HF_ENDPOINT {:?} is no http(s) address", settings.endpoint)))?;
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose().map_err(|_| bad("HF_TOKEN"))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("coppice/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        Ok(Self { agent: config.build().into(), endpoint: settings.endpoint.clone(), token })
    }

    /// `GET {endpoint}/api/models/{id}/revision/{rev}`.
    pub(super) fn list(&self, repo: &RepoId, revision: &str) -> Result<Listing, HubError> {
        let url = format!("{}/api/models/{repo}/revision/{}", self.endpoint, utf8_percent_encode(revision, SEGMENT));
        let (mut response, _) = self.follow(&Method::GET, &url, None, true)?;
        self.check(&response, &url, repo, &format!("model {repo} at revision {revision}"))?;
        let text = response.body_mut().with_config().limit(MAX_LISTING).read_to_string().map_err(|error| network(&url, &error))?;
        serde_json::from_str(&text).map_err(|error| HubError::Protocol { url, why: error.to_string() })
    }

    /// `HEAD {endpoint}/{id}/resolve/{commit}/{file}`, not followed to another host: the hashes stand in the Hub's own answer.
    pub(super) fn metadata(&self, repo: &RepoId, commit: &str, file: &str) -> Result<Metadata, HubError> {
        let url = self.file_url(repo, commit, file);
        let (response, headers) = self.follow(&Method::HEAD, &url, None, false)?;
        if !response.status().is_redirection() {
            self.check(&response, &url, repo, &format!("file {file} in {repo}"))?;
        }
        let found = text(&headers, "x-repo-commit").unwrap_or(commit);
        if found != commit {
            return Err(HubError::Protocol { url, why: format!("{file} is of commit {found}, asked was {commit}") });
        }
        let etag = text(&headers, "x-linked-etag").or_else(|| text(response.headers(), ETAG.as_str()));
        let etag = check_etag(etag.ok_or_else(|| HubError::Protocol { url, why: "no ETag".to_owned() })?)?;
        let own_length = text(response.headers(), CONTENT_LENGTH.as_str()).filter(|_| !response.status().is_redirection());
        Ok(Metadata { etag, size: text(&headers, "x-linked-size").or(own_length).and_then(|size| size.parse().ok()) })
    }

    /// `GET` of a file from byte `start` on, followed wherever the Hub sends us; the token stays with the endpoint.
    pub(super) fn get(&self, repo: &RepoId, commit: &str, file: &str, start: u64) -> Result<Response<Body>, HubError> {
        let url = self.file_url(repo, commit, file);
        let (response, _) = self.follow(&Method::GET, &url, Some(start).filter(|&start| start > 0), true)?;
        if response.status().as_u16() != 416 {
            self.check(&response, &url, repo, &format!("file {file} in {repo}"))?;
        }
        Ok(response)
    }

    fn file_url(&self, repo: &RepoId, commit: &str, file: &str) -> String {
        let path = file.split('/').map(|part| utf8_percent_encode(part, SEGMENT).to_string()).collect::<Vec<_>>().join("/");
        format!("{}/{repo}/resolve/{commit}/{path}", self.endpoint)
    }

    /// Sends the request along its redirects. Returns the last response and every `X-…` header met, the first value winning.
    fn follow(&self, method: &Method, url: &str, start: Option<u64>, leave: bool) -> Result<(Response<Body>, HeaderMap), HubError> {
        let (mut url, mut seen) = (url.to_owned(), HeaderMap::new());
        for _ in 0..MAX_HOPS {
            let response = self.send(method, &url, start)?;
            remember(&mut seen, response.headers());
            let Some(next) = redirect(&url, &response)? else { return Ok((response, seen)) };
            if !leave && origin(&next) != origin(&self.endpoint) {
                return Ok((response, seen));
            }
            url = next;
        }
        Err(HubError::Protocol { url, why: format!("more than {MAX_HOPS} redirects") })
    }

    fn send(&self, method: &Method, url: &str, start: Option<u64>) -> Result<Response<Body>, HubError> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(token) = self.token.as_ref().filter(|_| origin(url).is_some() && origin(url) == origin(&self.endpoint)) {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(start) = start {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let request = request.body(()).map_err(|error| HubError::Protocol { url: url.to_owned(), why: error.to_string() })?;
        self.agent.run(request).map_err(|error| network(url, &error))
    }

    fn check(&self, response: &Response<Body>, url: &str, repo: &RepoId, what: &str) -> Result<(), HubError> {
        let endpoint = self.endpoint.clone();
        match response.status().as_u16() {
            200..=299 => Ok(()),
            status @ (401 | 403) => Err(HubError::Denied { endpoint, repo: repo.to_string(), status }),
            404 => Err(HubError::NotFound { endpoint, what: what.to_owned() }),
            status => Err(HubError::Status { url: url.to_owned(), status }),
        }
    }
}

/// A header as text, where it is there and printable.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn remember(seen: &mut HeaderMap, headers: &HeaderMap) {
    for name in ["x-repo-commit", "x-linked-etag", "x-linked-size"] {
        if let (Some(value), None) = (headers.get(name), seen.get(name)) {
            seen.insert(HeaderName::from_static(name), value.clone());
        }
    }
}

/// Where a 3xx answer points; `None` for other answers. From https there is no way back to http.
fn redirect(from: &str, response: &Response<Body>) -> Result<Option<String>, HubError> {
    let nonsense = |why: &str| HubError::Protocol { url: from.to_owned(), why: why.to_owned() };
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let to = text(response.headers(), LOCATION.as_str()).ok_or_else(|| nonsense("a redirect to nowhere"))?;
    let (scheme, _) = from.split_once("://").unwrap_or_default();
    let next = match (to.strip_prefix("//"), to.starts_with('/')) {
        (Some(rest), _) => format!("{scheme}://{rest}"),
        (None, true) => format!("{}{to}", origin(from).unwrap_or_default()),
        (None, false) => to.to_owned(),
    };
    let reached = origin(&next).ok_or_else(|| nonsense("a redirect to something that is no http(s) address"))?;
    if scheme == "https" && !reached.starts_with("https://") { Err(nonsense("a redirect from https to http")) } else { Ok(Some(next)) }
}

/// Scheme, host and port of an http(s) address, in lower case; `None` for anything else, user names included.
fn origin(url: &str) -> Option<String> {
    let uri = url.parse::<Uri>().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    Some(format!("{scheme}://{authority}").to_lowercase())
}

fn network(url: &str, error: &ureq::Error) -> HubError {
    HubError::Network { url: url.to_owned(), reason: error.to_string() }
}
