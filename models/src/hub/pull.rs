//! `coppice pull`: list the repository, ask what each file is, fetch what the cache lacks, link the snapshot, record the ref.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::Hub;
use super::cache::{RepoCache, make_dir};
use super::client::{Client, Listing, Metadata};
use super::download::{Download, Verified};
use super::error::HubError;
use super::names::{RepoId, check_file, check_revision, is_commit, is_wanted, is_weights};
use crate::fs::check_free_space;

/// How to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOptions {
    /// A token to use instead of the settings' one.
    pub token: Option<String>,
    /// How often a cut-off file is taken up again before the pull gives up; after a growing pause (1 s, 2 s, …).
    pub retries: u32,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { token: None, retries: 3 }
    }
}

/// Where a pull stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file on its way.
    pub file: &'a str,
    /// Its bytes on disk.
    pub file_bytes: u64,
    /// Its size, where the server tells.
    pub file_size: Option<u64>,
    /// Bytes on disk of all files to fetch.
    pub bytes: u64,
    /// Bytes of all files to fetch, as far as the server tells.
    pub total: u64,
}

/// A finished pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// The repository.
    pub repo: String,
    /// The commit the revision stood for; where the network is off limits, at the last pull.
    pub commit: String,
    /// The checkpoint folder.
    pub snapshot: PathBuf,
    /// Its files, fetched or found; empty where the network is off limits.
    pub files: Vec<PulledFile>,
}

/// One file of a finished pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulledFile {
    /// Path from the repository's root.
    pub name: String,
    /// What its content was held against; `None` for a file that was in the cache before.
    pub verified: Option<Verified>,
}

/// A pull under way.
struct Pull<'a> {
    client: Client,
    cache: RepoCache,
    repo: &'a RepoId,
    commit: &'a str,
    retries: u32,
}

impl Hub {
    /// Brings a checkpoint (configuration, safetensors, tokenizer, template, licence) into the cache. `revision` is a branch, tag,
    /// pull request or commit; `main` by default. Files of the commit that are in the cache are not asked for again.
    ///
    /// # Errors
    /// A [`HubError`] sentence. A cut-off file keeps what came; the ref is recorded only when all files are there.
    pub fn pull(
        &self,
        repo: &RepoId,
        revision: Option<&str>,
        options: &PullOptions,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<Pulled, HubError> {
        let revision = check_revision(revision.unwrap_or("main"))?;
        if self.settings.offline {
            return self.pull_offline(repo, revision);
        }
        let client = Client::new(&self.settings, options.token.as_deref().or(self.settings.token.as_deref()))?;
        let listing = client.list(repo, revision)?;
        let (names, commit) = (wanted(repo, &listing)?, listing.sha.as_str());
        let cache = self.cache.repo(repo);
        self.cache.create()?;
        make_dir(&cache.root.join("blobs"))?;
        let pull = Pull { client, cache, repo, commit, retries: options.retries };
        let files = pull.files(&names, progress)?;
        pull.cache.set_ref(revision, commit)?;
        Ok(Pulled { repo: repo.to_string(), commit: commit.to_owned(), snapshot: pull.cache.snapshot(commit), files })
    }

    fn pull_offline(&self, repo: &RepoId, revision: &str) -> Result<Pulled, HubError> {
        let offline = |why| HubError::Offline { repo: format!("{repo}@{revision}"), cache: self.cache.root.clone(), why };
        let (commit, snapshot) = self.cached(repo, revision).map_err(offline)?;
        Ok(Pulled { repo: repo.to_string(), commit, snapshot, files: Vec::new() })
    }
}

impl Pull<'_> {
    /// Fetches the files the snapshot lacks, small ones first.
    fn files(&self, names: &[&str], progress: &mut dyn FnMut(&Progress<'_>)) -> Result<Vec<PulledFile>, HubError> {
        let (present, absent): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| self.cache.snapshot(self.commit).join(name).exists());
        let mut files = present.into_iter().map(|name| PulledFile { name: name.to_owned(), verified: None }).collect::<Vec<_>>();
        let mut todo = absent
            .into_iter()
            .map(|name| Ok((name, self.client.metadata(self.repo, self.commit, name)?)))
            .collect::<Result<Vec<_>, HubError>>()?;
        todo.sort_by_key(|(name, metadata)| (is_weights(name), metadata.size));
        let total = todo.iter().filter_map(|(_, metadata)| metadata.size).sum();
        check_free_space(&self.cache.root, self.missing_bytes(&todo))?;
        let mut before = 0;
        for (file, metadata) in &todo {
            let (file, file_size) = (*file, metadata.size);
            let mut report = |file_bytes| progress(&Progress { file, file_bytes, file_size, bytes: before + file_bytes, total });
            files.push(PulledFile { name: file.to_owned(), verified: self.file(file, metadata, &mut report)? });
            before += file_size.unwrap_or_default();
        }
        Ok(files)
    }

    /// Fetches one file and links it, taking a cut-off one up again.
    fn file(&self, file: &str, metadata: &Metadata, report: &mut dyn FnMut(u64)) -> Result<Option<Verified>, HubError> {
        let download = Download { client: &self.client, cache: &self.cache, repo: self.repo, commit: self.commit, file, metadata };
        let mut tries = 0;
        let verified = loop {
            match download.run(report) {
                Err(HubError::CutOff { .. } | HubError::Network { .. }) if tries < self.retries => {
                    tries += 1;
                    thread::sleep(Duration::from_secs(tries.into()));
                }
                outcome => break outcome?,
            }
        };
        self.cache.link(self.commit, file, &metadata.etag)?;
        Ok(verified)
    }

    /// Bytes neither in a blob nor in a partial file.
    fn missing_bytes(&self, todo: &[(&str, Metadata)]) -> u64 {
        let on_disk = |etag: &str| {
            let found = self.cache.blob(etag).metadata().or_else(|_| self.cache.partial(etag).metadata());
            found.map_or(0, |found| found.len())
        };
        todo.iter().map(|(_, metadata)| metadata.size.unwrap_or_default().saturating_sub(on_disk(&metadata.etag))).sum()
    }
}

/// The files a checkpoint needs, out of all. Every name is checked, wanted or not: a repository with one bad name is not trusted.
fn wanted<'a>(repo: &RepoId, listing: &'a Listing) -> Result<Vec<&'a str>, HubError> {
    if !is_commit(&listing.sha) {
        return Err(HubError::Name { what: "commit", name: listing.sha.clone(), why: "expected 40 hexadecimal digits" });
    }
    let names = listing.siblings.iter().map(|sibling| check_file(&sibling.rfilename)).collect::<Result<Vec<_>, _>>()?;
    let names = names.into_iter().filter(|name| is_wanted(name)).collect::<Vec<_>>();
    let lacks = |why| Err(HubError::NoCheckpoint { repo: repo.to_string(), why });
    match (names.contains(&"config.json"), names.iter().any(|name| is_weights(name))) {
        (false, _) => lacks("it has no config.json"),
        (_, false) => lacks("it has no safetensors weights (pickled .bin and .pt files are never loaded)"),
        _ => Ok(names),
    }
}
