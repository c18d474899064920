//! `pull`, `ls` and `resolve_model` against a loopback server with the Hub's paths.

#[path = "support/http.rs"]
mod http;

use std::fs;
use std::path::{Path, PathBuf};

use coppice_models::hub::{Hub, HubError, Progress, PullOptions, Pulled, RepoId, Settings, Verified};
use http::{Reply, Seen, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CONFIG: &[u8] = b"{\"model_type\": \"stablelm\"}\n";
/// `git hash-object` of [`CONFIG`].
const CONFIG_ETAG: &str = "e2a368a33d8449f614c9b5853c52f6249ca82d96";
/// `sha256sum` of [`weights`].
const WEIGHTS_ETAG: &str = "fb1d8fabac622cd16fe7b9fb8bc6100515dc417bd56d036e496a49d4c20f63b8";

fn weights() -> Vec<u8> {
    (0..200_000_u32).map(|i| (i * 31 % 251) as u8).collect()
}

/// What is wrong with the site, if anything.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    CutOnce(usize),
    IgnoreRanges(usize),
    FlippedByte,
    Longer,
    Status(u16),
    Etag(&'static str),
    Sha(&'static str),
    Name(&'static str),
    Redirect(&'static str),
    OtherCommit,
}

/// A Hub that knows `org/tiny`, and the other host its weights lie on.
struct Site {
    hub: Server,
    cdn: Server,
    cache: tempfile::TempDir,
}

impl Site {
    fn new(fault: Fault) -> Self {
        let cdn = Server::start(move |seen| storage(seen, fault));
        let target = format!("{}/bucket/weights?signature=s", cdn.address());
        let hub = Server::start(move |seen| hub_reply(seen, fault, &target));
        Self { hub, cdn, cache: tempfile::tempdir().unwrap() }
    }

    fn client(&self, offline: bool) -> Hub {
        let token = Some("hf_secret".to_owned());
        Hub::new(Settings { endpoint: self.hub.address(), cache: self.cache.path().to_owned(), token, offline })
    }

    fn pull(&self) -> Result<Pulled, HubError> {
        self.pull_with(0, &mut |_| {})
    }

    fn pull_with(&self, retries: u32, progress: &mut dyn FnMut(&Progress<'_>)) -> Result<Pulled, HubError> {
        self.client(false).pull(&tiny(), None, &PullOptions { retries, ..PullOptions::default() }, progress)
    }

    fn repo(&self) -> PathBuf {
        self.cache.path().join("models--org--tiny")
    }

    fn partial(&self) -> PathBuf {
        self.repo().join("blobs").join(format!("{WEIGHTS_ETAG}.incomplete"))
    }
}

fn tiny() -> RepoId {
    "org/tiny".parse().unwrap()
}

/// The Hub: a listing, small files from itself, weights by a redirect to another host.
fn hub_reply(seen: &Seen, fault: Fault, storage: &str) -> Reply {
    let files = format!("/org/tiny/resolve/{COMMIT}/");
    match (fault, seen.path.as_str()) {
        (Fault::Status(status), _) => Reply::status(status),
        (_, "/api/models/org/tiny/revision/main") => Reply::ok(listing(fault).as_bytes()),
        (_, path) if path == format!("{files}config.json") => small(fault),
        (Fault::Redirect(to), path) if path == format!("{files}model.safetensors") => linked(to),
        (_, path) if path == format!("{files}model.safetensors") => linked(storage),
        _ => Reply::status(404),
    }
}

fn listing(fault: Fault) -> String {
    let sha = if let Fault::Sha(sha) = fault { sha } else { COMMIT };
    let extra = if let Fault::Name(name) = fault { name } else { "pytorch_model.bin" };
    let names = ["config.json", "model.safetensors", "onnx/model.safetensors", extra];
    let siblings = names.map(|name| serde_json::json!({ "rfilename": name }));
    serde_json::json!({ "sha": sha, "siblings": siblings }).to_string()
}

fn small(fault: Fault) -> Reply {
    let etag = if let Fault::Etag(etag) = fault { etag } else { CONFIG_ETAG };
    let commit = if fault == Fault::OtherCommit { "f".repeat(40) } else { COMMIT.to_owned() };
    Reply::ok(CONFIG).header("ETag", &format!("\"{etag}\"")).header("X-Repo-Commit", &commit)
}

fn linked(to: &str) -> Reply {
    let size = weights().len().to_string();
    let reply = Reply::status(302).header("Location", to).header("X-Repo-Commit", COMMIT).header("ETag", "\"of-the-redirect\"");
    reply.header("X-Linked-Etag", &format!("\"{WEIGHTS_ETAG}\"")).header("X-Linked-Size", &size)
}

/// The host the weights lie on.
fn storage(seen: &Seen, fault: Fault) -> Reply {
    let mut body = weights();
    let asked = seen.header("range").map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    match (fault, asked) {
        (Fault::CutOnce(at) | Fault::IgnoreRanges(at), None) if seen.number == 0 => Reply::ok(&body).cut(at),
        (Fault::IgnoreRanges(_), _) => Reply::ok(&body),
        (Fault::FlippedByte, _) => {
            body[100_000] ^= 1;
            Reply::ok(&body)
        }
        (Fault::Longer, _) => Reply::ok(&[body, vec![0; 10]].concat()),
        (_, None) => Reply::ok(&body),
        (_, Some(start)) => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            Reply::ok(&body[start..]).with_status(206).header("Content-Range", &range)
        }
    }
}

#[test]
fn a_whole_pull_lays_out_the_cache_as_huggingface_hub_does() {
    let site = Site::new(Fault::None);
    let pulled = site.pull().unwrap();
    let snapshot = site.repo().join("snapshots").join(COMMIT);
    assert_eq!((pulled.commit.as_str(), &pulled.snapshot), (COMMIT, &snapshot));
    let verified = pulled.files.iter().map(|file| (file.name.as_str(), file.verified)).collect::<Vec<_>>();
    assert_eq!(verified, [("config.json", Some(Verified::GitSha1)), ("model.safetensors", Some(Verified::Sha256))]);
    assert_eq!(fs::read_link(snapshot.join("config.json")).unwrap(), Path::new("../../blobs").join(CONFIG_ETAG));
    assert_eq!(fs::read_link(snapshot.join("model.safetensors")).unwrap(), Path::new("../../blobs").join(WEIGHTS_ETAG));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read_to_string(site.repo().join("refs/main")).unwrap(), COMMIT);
    assert!(site.cache.path().join(".locks/models--org--tiny").join(format!("{WEIGHTS_ETAG}.lock")).exists());
    assert_eq!(fs::read_dir(&snapshot).unwrap().count(), 2, "no pickle, no side format, no scratch");
    assert_eq!(fs::read_dir(site.repo().join("blobs")).unwrap().count(), 2, "nothing incomplete left");
}

#[test]
fn the_token_goes_to_the_endpoint_and_to_no_other_host() {
    let site = Site::new(Fault::None);
    site.pull().unwrap();
    assert!(site.hub.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer hf_secret")));
    let stored = site.cdn.seen();
    assert_eq!(stored.len(), 1, "only the bytes themselves are asked of the other host");
    assert!(stored.iter().all(|seen| seen.header("authorization").is_none() && !format!("{seen:?}").contains("hf_secret")));
}

#[test]
fn a_second_pull_asks_for_the_listing_only() {
    let site = Site::new(Fault::None);
    site.pull().unwrap();
    let before = site.hub.seen().len();
    let again = site.pull().unwrap();
    assert!(again.files.iter().all(|file| file.verified.is_none()));
    assert_eq!((site.hub.seen().len() - before, site.cdn.seen().len()), (1, 1));
}

#[test]
fn progress_rises_to_the_total() {
    let site = Site::new(Fault::None);
    let mut steps = Vec::new();
    site.pull_with(0, &mut |progress| steps.push((progress.bytes, progress.total))).unwrap();
    let total = (weights().len() + CONFIG.len()) as u64;
    assert!(steps.is_sorted() && steps.iter().all(|step| step.1 == total));
    assert_eq!(steps.last().unwrap().0, total);
}

#[test]
fn a_cut_off_file_is_kept_and_resumed_by_the_next_pull() {
    let site = Site::new(Fault::CutOnce(70_000));
    let error = site.pull().unwrap_err();
    assert!(matches!(error, HubError::CutOff { got: 70_000, expected: 200_000, .. }), "{error}");
    assert_eq!(fs::read(site.partial()).unwrap(), weights()[..70_000]);
    assert!(!site.repo().join("refs/main").exists(), "an unfinished pull is no revision");
    assert!(site.client(true).resolve_model("org/tiny").is_err());
    let pulled = site.pull().unwrap();
    assert_eq!(site.cdn.seen()[1].header("range"), Some("bytes=70000-"));
    assert_eq!(fs::read(pulled.snapshot.join("model.safetensors")).unwrap(), weights());
    assert!(!site.partial().exists());
}

#[test]
fn a_cut_off_file_is_resumed_within_one_pull_where_retries_are_left() {
    let site = Site::new(Fault::CutOnce(1));
    let pulled = site.pull_with(1, &mut |_| {}).unwrap();
    assert_eq!(fs::read(pulled.snapshot.join("model.safetensors")).unwrap(), weights());
    assert_eq!(site.cdn.seen()[1].header("range"), Some("bytes=1-"));
}

#[test]
fn a_server_without_ranges_means_starting_over() {
    let site = Site::new(Fault::IgnoreRanges(70_000));
    assert!(site.pull().is_err());
    let pulled = site.pull().unwrap();
    assert_eq!(fs::read(pulled.snapshot.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_partial_file_that_rotted_is_found_out_and_fetched_anew() {
    let site = Site::new(Fault::CutOnce(70_000));
    assert!(site.pull().is_err());
    fs::write(site.partial(), vec![0; 70_000]).unwrap();
    assert!(matches!(site.pull(), Err(HubError::Hash { .. })));
    assert!(!site.partial().exists());
    assert_eq!(fs::read(site.pull().unwrap().snapshot.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_wrong_hash_is_a_sentence_and_leaves_nothing() {
    let site = Site::new(Fault::FlippedByte);
    let error = site.pull().unwrap_err();
    assert!(matches!(error, HubError::Hash { algorithm: "SHA-256", .. }), "{error}");
    assert!(error.to_string().contains("model.safetensors") && error.to_string().contains(WEIGHTS_ETAG));
    assert!(!site.partial().exists() && !site.repo().join("refs").exists());
    let wrong = Site::new(Fault::Etag("00000000000000000000000000000000000000ab"));
    assert!(matches!(wrong.pull(), Err(HubError::Hash { algorithm: "git SHA-1", .. })));
    assert!(matches!(Site::new(Fault::Longer).pull(), Err(HubError::Protocol { .. })));
}

#[test]
fn refusals_say_what_to_do() {
    for status in [401, 403] {
        let error = Site::new(Fault::Status(status)).pull().unwrap_err().to_string();
        assert!(error.contains("HF_TOKEN") && error.contains("licence") && error.contains(&status.to_string()), "{error}");
        assert!(!error.contains("hf_secret"));
    }
    let error = Site::new(Fault::Status(404)).pull().unwrap_err();
    assert!(matches!(&error, HubError::NotFound { what, .. } if what.contains("org/tiny")), "{error}");
    assert!(matches!(Site::new(Fault::Status(500)).pull(), Err(HubError::Status { status: 500, .. })));
}

#[test]
fn offline_finds_what_is_there_and_names_what_is_not() {
    let site = Site::new(Fault::None);
    let miss = site.client(true).pull(&tiny(), None, &PullOptions::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(miss, HubError::Offline { .. }) && miss.to_string().contains("HF_HUB_OFFLINE"), "{miss}");
    assert!(site.hub.seen().is_empty(), "offline means no request");
    let online = site.pull().unwrap();
    let asked = site.hub.seen().len();
    for revision in [None, Some(COMMIT)] {
        let hit = site.client(true).pull(&tiny(), revision, &PullOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(hit.snapshot, online.snapshot);
    }
    assert_eq!(site.hub.seen().len(), asked);
}

#[test]
fn hostile_answers_write_nothing_outside() {
    let names = ["../../../x.safetensors", "/etc/x.safetensors", "a\\..\\x.safetensors", "a/../../x.bin"].map(Fault::Name);
    let others = [Fault::Etag("../../../../evil"), Fault::Etag(""), Fault::Sha("../../../../evil"), Fault::Sha("main")];
    for fault in names.into_iter().chain(others) {
        let site = Site::new(fault);
        let error = site.pull().unwrap_err();
        assert!(matches!(error, HubError::Name { .. }), "{fault:?}: {error}");
        assert!(!site.repo().join("snapshots").exists(), "{fault:?}");
    }
    for fault in [Fault::Redirect("file:///etc/passwd"), Fault::Redirect("http://user@host/x"), Fault::OtherCommit] {
        let error = Site::new(fault).pull().unwrap_err();
        assert!(matches!(error, HubError::Protocol { .. }), "{fault:?}: {error}");
    }
}

#[test]
fn nobody_listening_is_a_sentence() {
    let cache = tempfile::tempdir().unwrap();
    let settings = |endpoint: &str| Settings { endpoint: endpoint.to_owned(), cache: cache.path().to_owned(), token: None, offline: false };
    let pull = |endpoint: &str| Hub::new(settings(endpoint)).pull(&tiny(), None, &PullOptions::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(pull("http://127.0.0.1:1"), HubError::Network { .. }));
    assert!(matches!(pull("ftp://host"), HubError::Settings(_)));
}

#[test]
fn ls_tells_revisions_refs_and_sizes() {
    let site = Site::new(Fault::None);
    assert!(site.client(true).ls().unwrap().is_empty());
    site.pull().unwrap();
    let repos = site.client(true).ls().unwrap();
    let total = (weights().len() + CONFIG.len()) as u64;
    assert_eq!((repos.len(), repos[0].id.as_str(), repos[0].bytes), (1, "org/tiny", total));
    let revision = &repos[0].revisions[0];
    assert_eq!((revision.commit.as_str(), revision.refs.as_slice(), &revision.missing), (COMMIT, ["main".to_owned()].as_slice(), &None));
    let names = revision.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect::<Vec<_>>();
    assert_eq!(names, [("config.json", CONFIG.len() as u64), ("model.safetensors", 200_000)]);
}

#[test]
fn a_model_is_a_folder_or_a_cached_id_or_a_hint() {
    let site = Site::new(Fault::None);
    let hub = site.client(true);
    let hint = hub.resolve_model("org/tiny").unwrap_err().to_string();
    assert!(hint.contains("coppice pull org/tiny"), "{hint}");
    let pulled = site.pull().unwrap();
    assert_eq!(hub.resolve_model("org/tiny").unwrap(), pulled.snapshot);
    assert_eq!(hub.resolve_model(&format!("org/tiny@{COMMIT}")).unwrap(), pulled.snapshot);
    assert_eq!(hub.resolve_model(pulled.snapshot.to_str().unwrap()).unwrap(), pulled.snapshot);
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    assert!(matches!(hub.resolve_model(path), Err(HubError::NotAModel { .. })));
    assert!(matches!(hub.resolve_model(&format!("{path}/none")), Err(HubError::NotAModel { .. })));
    assert!(matches!(hub.resolve_model("org/tiny@../x"), Err(HubError::Name { .. })));
}

#[test]
fn a_snapshot_without_a_shard_its_index_names_is_incomplete() {
    let site = Site::new(Fault::None);
    let snapshot = site.pull().unwrap().snapshot;
    let index = |names: &str| fs::write(snapshot.join("model.safetensors.index.json"), format!("{{\"weight_map\": {names}}}")).unwrap();
    let error = || site.client(true).resolve_model("org/tiny").unwrap_err().to_string();
    index("{\"w\": \"model-2.safetensors\"}");
    assert!(error().contains("model-2.safetensors"));
    index("{\"w\": \"../../x\"}");
    assert!(error().contains("index.json"));
    index("{\"w\": \"model.safetensors\"}");
    assert!(site.client(true).resolve_model("org/tiny").is_ok());
}
