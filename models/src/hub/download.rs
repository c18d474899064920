//! One file's bytes: fetched into `<blob>.incomplete`, resumed where an earlier try stopped, verified, then renamed to the blob.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::Response;

use super::cache::RepoCache;
use super::client::{Client, Metadata, text};
use super::error::HubError;
use super::names::{RepoId, is_hex};
use crate::fs::{FsError, sync_dir};

/// What a blob was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// The SHA-256 the Hub names for LFS files.
    Sha256,
    /// Git's SHA-1 of the blob, for the rest.
    GitSha1,
    /// Only the length: the endpoint's etag is no hash of the content.
    Length,
}

/// A file to fetch.
#[derive(Debug)]
pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    pub(super) cache: &'a RepoCache,
    pub(super) repo: &'a RepoId,
    pub(super) commit: &'a str,
    pub(super) file: &'a str,
    pub(super) metadata: &'a Metadata,
}

impl Download<'_> {
    /// Brings the blob into the cache and says what it was held against; `None` where it was there (another process may have
    /// brought it while we waited for the lock). `report` hears how many of its bytes are on disk.
    pub(super) fn run(&self, report: &mut dyn FnMut(u64)) -> Result<Option<Verified>, HubError> {
        let blob = self.cache.blob(&self.metadata.etag);
        let _lock = self.cache.lock(&self.metadata.etag)?;
        if blob.exists() {
            report(blob.metadata().map_err(FsError::io("inspect", &blob))?.len());
            return Ok(None);
        }
        let partial = self.cache.partial(&self.metadata.etag);
        self.complete(&partial, report)?;
        self.verify(&partial)?;
        fs::rename(&partial, &blob).map_err(FsError::io("rename to", &blob))?;
        sync_dir(blob.parent().unwrap_or(&self.cache.root))?;
        Ok(Some(verification(&self.metadata.etag)))
    }

    /// Fetches what the partial file lacks.
    fn complete(&self, partial: &Path, report: &mut dyn FnMut(u64)) -> Result<(), HubError> {
        let open = File::options().create(true).write(true).truncate(false).open(partial);
        let mut out = open.map_err(FsError::io("open", partial))?;
        let mut have = out.seek(SeekFrom::End(0)).map_err(FsError::io("read", partial))?;
        if self.metadata.size.is_some_and(|size| have > size) {
            have = 0;
        }
        if self.metadata.size != Some(have) || have == 0 {
            let mut response = self.client.get(self.repo, self.commit, self.file, have)?;
            if response.status().as_u16() == 416 {
                response = self.client.get(self.repo, self.commit, self.file, 0)?;
            }
            have = self.position(&response, have)?;
            out.set_len(have).and_then(|()| out.seek(SeekFrom::Start(have))).map_err(FsError::io("write", partial))?;
            self.copy(response, &mut out, have, report)?;
        }
        Ok(out.sync_all().map_err(FsError::io("sync", partial))?)
    }

    /// The byte at which the response starts: where we asked (206), or the beginning where the server ignores ranges (200).
    fn position(&self, response: &Response<Body>, asked: u64) -> Result<u64, HubError> {
        if response.status().as_u16() != 206 {
            return Ok(0);
        }
        let range = text(response.headers(), "content-range").unwrap_or_default();
        let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()).and_then(|start| start.parse().ok());
        if start == Some(asked) { Ok(asked) } else { Err(self.nonsense(format!("asked from byte {asked} on, got {range:?}"))) }
    }

    /// Appends the body to the file; what came before a break stays.
    fn copy(&self, response: Response<Body>, out: &mut File, start: u64, report: &mut dyn FnMut(u64)) -> Result<(), HubError> {
        let announced = self.metadata.size.or_else(|| Some(start + response.body().content_length()?));
        let expected = announced.ok_or_else(|| self.nonsense("no length".to_owned()))?;
        let (mut have, mut buffer) = (start, vec![0; 1 << 16]);
        let mut body = response.into_body().into_reader();
        loop {
            report(have);
            let count = body.read(&mut buffer).map_err(|error| self.cut_off(have, expected, &error.to_string()))?;
            have += count as u64;
            if have > expected {
                return Err(self.nonsense(format!("more than the {expected} bytes announced")));
            }
            if count == 0 {
                break;
            }
            out.write_all(&buffer[..count]).map_err(FsError::io("write", self.cache.blob(&self.metadata.etag)))?;
        }
        if have < expected { Err(self.cut_off(have, expected, "connection closed")) } else { Ok(()) }
    }

    fn cut_off(&self, got: u64, expected: u64, reason: &str) -> HubError {
        HubError::CutOff { file: self.file.to_owned(), got, expected, reason: reason.to_owned() }
    }

    fn nonsense(&self, why: String) -> HubError {
        HubError::Protocol { url: format!("{}/{}", self.repo, self.file), why }
    }

    /// Holds the bytes on disk against the etag; removes them where they differ.
    fn verify(&self, partial: &Path) -> Result<(), HubError> {
        let etag = &self.metadata.etag;
        let (algorithm, found) = match verification(etag) {
            Verified::Sha256 => ("SHA-256", hash(Sha256::new(), partial)?),
            Verified::GitSha1 => ("git SHA-1", git_sha1(partial)?),
            Verified::Length => return Ok(()),
        };
        if found == *etag {
            return Ok(());
        }
        fs::remove_file(partial).map_err(FsError::io("remove", partial))?;
        Err(HubError::Hash { file: self.file.to_owned(), algorithm, expected: etag.clone(), found })
    }
}

/// What an etag can be held against.
fn verification(etag: &str) -> Verified {
    match etag {
        _ if is_hex(etag, 64) => Verified::Sha256,
        _ if is_hex(etag, 40) => Verified::GitSha1,
        _ => Verified::Length,
    }
}

/// Git hashes `blob <length>\0` before the content.
fn git_sha1(path: &Path) -> Result<String, HubError> {
    let length = fs::metadata(path).map_err(FsError::io("inspect", path))?.len();
    hash(Sha1::new_with_prefix(format!("blob {length}\0")), path)
}

fn hash<D: Digest>(mut digest: D, path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(FsError::io("open", path))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(FsError::io("read", path))? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => digest.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard_tools() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1; and `printf abc | git hash-object --stdin`.
        assert_eq!(hash(Sha256::new(), &path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(git_sha1(&path).unwrap(), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
    }
}
