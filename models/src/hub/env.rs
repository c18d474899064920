//! The environment variables huggingface_hub reads, read the same way (its `constants.py` and `utils/_auth.py`).

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::HubError;
use crate::fs::FsError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where the Hub is, where its cache is, and who asks.
#[derive(Clone)]
pub struct Settings {
    /// Base address without a trailing slash (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The folder of `models--…` folders (`HF_HUB_CACHE`, else `$HF_HOME/hub`).
    pub cache: PathBuf,
    /// Access token (`HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token`).
    pub token: Option<String>,
    /// Whether the network is off limits (`HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`).
    pub offline: bool,
}

impl Settings {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// As [`Settings::from_vars`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads variables through `var`; empty ones count as unset, `~/` is the home folder.
    ///
    /// # Errors
    /// [`HubError::NoCache`] where nothing says where the cache is, [`HubError::Fs`] where a token file is there and unreadable.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let get = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| get(name).map(|value| expand_home(&value, get("HOME").as_deref()));
        let first = |names: [&str; 2]| names.into_iter().find_map(&path);
        let cache_home = path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")));
        let home = path("HF_HOME").or_else(|| cache_home.map(|folder| folder.join("huggingface")));
        let cache = first(["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).or_else(|| home.as_ref().map(|home| home.join("hub")));
        let token_path = path("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
        let implicit = !is_true(get("HF_HUB_DISABLE_IMPLICIT_TOKEN").as_deref());
        let given = get("HF_TOKEN").or_else(|| get("HUGGING_FACE_HUB_TOKEN")).map(|token| token.trim().to_owned());
        Ok(Self {
            endpoint: get("HF_ENDPOINT").as_deref().unwrap_or(DEFAULT_ENDPOINT).trim().trim_end_matches('/').to_owned(),
            cache: cache.ok_or(HubError::NoCache)?,
            token: if implicit { given.map_or_else(|| read_token(token_path.as_deref()), |token| Ok(Some(token)))? } else { None },
            offline: is_true(get("HF_HUB_OFFLINE").or_else(|| get("TRANSFORMERS_OFFLINE")).as_deref()),
        })
    }
}

impl fmt::Debug for Settings {
    /// Never shows the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "hidden");
        let Self { endpoint, cache, offline, .. } = self;
        f.debug_struct("Settings")
            .field("endpoint", endpoint)
            .field("cache", cache)
            .field("token", &token)
            .field("offline", offline)
            .finish()
    }
}

fn is_true(value: Option<&str>) -> bool {
    value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

fn expand_home(value: &str, home: Option<&str>) -> PathBuf {
    match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => PathBuf::from(value),
    }
}

fn read_token(path: Option<&Path>) -> Result<Option<String>, HubError> {
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(FsError::io("read the access token", path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Settings {
        Settings::from_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_would_put_it() {
        let cache = |vars: &[(&str, &str)]| settings(vars).cache.to_str().unwrap().to_owned();
        assert_eq!(cache(&[("HOME", "/h")]), "/h/.cache/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/hf")]), "/h/hf/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), "/c");
        assert!(matches!(Settings::from_vars(|_| None), Err(HubError::NoCache)));
    }

    #[test]
    fn the_token_is_the_variable_then_the_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "from_file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(settings(&[("HF_HOME", home)]).token.as_deref(), Some("from_file"));
        assert_eq!(settings(&[("HF_HOME", "/none"), ("HF_TOKEN_PATH", file.to_str().unwrap())]).token.as_deref(), Some("from_file"));
        let given = settings(&[("HF_HOME", home), ("HF_TOKEN", " secret ")]);
        assert_eq!(given.token.as_deref(), Some("secret"));
        assert!(!format!("{given:?}").contains("secret"));
        assert_eq!(settings(&[("HF_HOME", home), ("HF_TOKEN", "x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
    }

    #[test]
    fn offline_has_four_spellings_and_an_alias() {
        for value in ["1", "on", "YES", "True"] {
            assert!(settings(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", value)]).offline);
        }
        assert!(settings(&[("HF_HOME", "/h"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!settings(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", "0")]).offline);
        assert_eq!(settings(&[("HF_HOME", "/h"), ("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    }
}
