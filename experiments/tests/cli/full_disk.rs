//! A disk that runs full: one sentence, exit 2, nothing half-written.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::folder::names;
use crate::support::{Folder, coppice, refused};

/// A file system of a few pages, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said on stderr, where this user may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "coppice-test"]).arg(&at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        eprintln!("SKIPPED: no right to mount a small file system; the file-size limit below covers the same paths");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Makes the process fail at writing any file beyond `bytes`, as a full disk would.
fn limited(command: &mut Command, bytes: u64) -> &mut Command {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            if libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        })
    }
}

/// Enough lines of scores not to fit into 16 KiB.
fn input(folder: &Folder) -> String {
    folder.write("in.jsonl", "{\"tokens\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}\n".repeat(60))
}

fn commands(folder: &Folder, target: &Path) -> [Command; 3] {
    let (input, model) = (input(folder), folder.arg("model"));
    let records = "{\"id\":\"a\",\"prompt\":\"p\",\"response\":\"r\"}\n".repeat(400);
    let records = folder.write("records.jsonl", records);
    let target = target.to_str().unwrap();
    [
        coppice(["score", "--model", &model, "--input", &input, "--output", target]),
        coppice(["upcycle", "--model", &model, "--output", target]),
        coppice(["detect", "score", "--input", &records, "--output", target]),
    ]
}

#[test]
fn a_full_file_system_leaves_nothing_behind() {
    let folder = Folder::with_model();
    let Some(disk) = SmallDisk::mount(folder.path("disk")) else { return };
    for mut command in commands(&folder, &disk.0.join("out")) {
        let told = refused(&mut command);
        assert!(told.contains("No space left") || told.contains("free"), "{told}");
        assert_eq!(names(&disk.0), [""; 0], "{command:?}");
    }
}

#[test]
fn a_write_that_fails_halfway_leaves_nothing_behind() {
    let folder = Folder::with_model();
    std::fs::create_dir(folder.path("disk")).unwrap();
    for mut command in commands(&folder, &folder.path("disk/out")) {
        let told = refused(limited(&mut command, 8192));
        assert!(told.contains("too large"), "{told}");
        assert_eq!(names(&folder.path("disk")), [""; 0], "{command:?}");
    }
}

#[test]
fn a_device_is_no_output() {
    let folder = Folder::with_model();
    let input = input(&folder);
    let model = folder.arg("model");
    let told = refused(&mut coppice(["score", "--model", &model, "--input", &input, "--output", "/dev/full", "--overwrite"]));
    assert!(told.contains("/dev/full"), "{told}");
    assert!(Path::new("/dev/full").exists());
}
