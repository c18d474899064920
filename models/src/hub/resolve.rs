//! From what a user types to a checkpoint folder: a local folder, or a snapshot in the cache. Never touches the network.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Hub;
use super::error::HubError;
use super::names::{RepoId, check_file, check_revision, is_weights};

impl Hub {
    /// The checkpoint folder for `name`: a folder with a `config.json`, or `org/name` or `org/name@revision` in the cache.
    ///
    /// # Errors
    /// [`HubError::NotAModel`] for a folder without `config.json`, [`HubError::NotCached`] with the `coppice pull` that would help.
    pub fn resolve_model(&self, name: &str) -> Result<PathBuf, HubError> {
        let path = Path::new(name);
        if path.is_dir() {
            let why = "the folder has no config.json, so it is no checkpoint";
            return if path.join("config.json").is_file() {
                Ok(path.to_owned())
            } else {
                Err(HubError::NotAModel { path: path.to_owned(), why })
            };
        }
        if path.exists() {
            return Err(HubError::NotAModel { path: path.to_owned(), why: "a model is a folder, this is a file" });
        }
        let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
        let Ok(repo) = id.parse::<RepoId>() else {
            return Err(HubError::NotAModel { path: path.to_owned(), why: "no such folder (and it cannot be a Hub id, `org/name`)" });
        };
        let found = self.cached(&repo, check_revision(revision)?);
        found.map(|(_, snapshot)| snapshot).map_err(|why| HubError::NotCached { name: name.to_owned(), why })
    }

    /// Commit and folder of a complete snapshot in the cache, or what is lacking.
    pub(super) fn cached(&self, repo: &RepoId, revision: &str) -> Result<(String, PathBuf), String> {
        let cache = self.cache.repo(repo);
        let commit = cache.commit(revision).ok_or_else(|| format!("no revision {revision}"))?;
        let snapshot = cache.snapshot(&commit);
        match missing(&snapshot) {
            None => Ok((commit, snapshot)),
            Some(file) => Err(format!("its snapshot lacks {file}")),
        }
    }
}

/// The first file without which the folder is no checkpoint: `config.json`, the shards its index names, or any weights.
pub(super) fn missing(snapshot: &Path) -> Option<String> {
    let lacks = |name: &&str| !snapshot.join(name).exists();
    let index = snapshot.join("model.safetensors.index.json");
    if lacks(&"config.json") {
        return Some("config.json".to_owned());
    }
    match (index.exists(), shards(&index)) {
        (true, Some(names)) => names.iter().map(String::as_str).find(lacks).map(str::to_owned),
        (true, None) => Some("a readable model.safetensors.index.json".to_owned()),
        (false, _) if has_weights(snapshot) => None,
        (false, _) => Some("*.safetensors".to_owned()),
    }
}

/// The shard names of an index; `None` where it cannot be read or names a file outside the folder.
fn shards(index: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(index).ok()?;
    let index = serde_json::from_str::<Value>(&text).ok()?;
    index.get("weight_map")?.as_object()?.values().map(|name| check_file(name.as_str()?).ok().map(str::to_owned)).collect()
}

fn has_weights(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names.into_iter().any(|entry| entry.path().exists() && is_weights(&entry.file_name().to_string_lossy()))
}
