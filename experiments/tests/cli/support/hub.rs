//! A loopback server with the Hub's paths that knows one repository, `org/tiny`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

/// The one commit.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every answer is 401.
    Unauthorized,
    /// Contents do not match their hashes.
    Damaged,
}

/// Files by name, each with its content and SHA-256.
type Files = BTreeMap<String, (Vec<u8>, String)>;

/// Serves the files of `folder` until the test's process ends; returns the address.
pub(crate) fn serve(folder: &Path, fault: Fault) -> String {
    let files: Files = super::folder::names(folder).into_iter().map(|name| (name.clone(), hashed(&folder.join(name)))).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(&stream, &files, fault))));
    address
}

/// coreutils is the reference for the hash.
fn hashed(path: &Path) -> (Vec<u8>, String) {
    let told = Command::new("sha256sum").arg(path).output().unwrap();
    let hash = String::from_utf8(told.stdout).unwrap()[..64].to_owned();
    (std::fs::read(path).unwrap(), hash)
}

fn answer(stream: &TcpStream, files: &Files, fault: Fault) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let path = first.split(' ').nth(1).unwrap_or_default();
    if fault == Fault::Unauthorized {
        return reply(stream, "401 Unauthorized", "", &[]);
    }
    if path == "/api/models/org/tiny/revision/main" {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        return reply(stream, "200 OK", "", serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string().as_bytes());
    }
    let found = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/")).and_then(|name| files.get(name));
    let Some((content, hash)) = found else { return reply(stream, "404 Not Found", "", &[]) };
    let mut content = content.clone();
    content[0] ^= u8::from(fault == Fault::Damaged);
    reply(stream, "200 OK", &format!("ETag: \"{hash}\"\r\nX-Repo-Commit: {COMMIT}\r\n"), &content)
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len())?;
    stream.write_all(body)
}
