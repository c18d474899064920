//! Tests that run as several processes: the test's own binary, started once for each rank.
#![allow(dead_code, reason = "every test uses its own part")]

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use coppice_models::distributed::World;
use coppice_models::distributed::group::Meeting;

/// Seconds until a silent rank counts as lost.
pub(crate) const TIMEOUT: u64 = 20;

/// Who this process is, where it was started by [`start`] for the test `name`.
pub(crate) fn world(name: &str) -> Option<World> {
    world_within(name, Duration::from_secs(TIMEOUT))
}

/// The same with a timeout of its own.
pub(crate) fn world_within(name: &str, timeout: Duration) -> Option<World> {
    let value = |key: &str| std::env::var(format!("COPPICE_TEST_{key}")).ok();
    if value("NAME")? != name {
        return None;
    }
    let [rank, size, port] = ["RANK", "SIZE", "PORT"].map(|key| value(key).unwrap().parse::<u16>().unwrap());
    let meeting = Meeting { address: "127.0.0.1".into(), port, serves: rank == 0 };
    Some(World::join(meeting, rank.into(), size.into(), timeout).unwrap())
}

/// Starts `size` processes that run the test `name` alone.
pub(crate) fn start(name: &str, size: usize) -> Vec<Child> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rank = |rank: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("COPPICE_TEST_NAME", name)
            .env("COPPICE_TEST_RANK", rank.to_string())
            .env("COPPICE_TEST_SIZE", size.to_string())
            .env("COPPICE_TEST_PORT", port.to_string())
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    (0..size).map(rank).collect()
}

/// Runs the test `name` as `size` processes that must all succeed.
pub(crate) fn run(name: &str, size: usize) {
    for (rank, child) in start(name, size).into_iter().enumerate() {
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let told = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        assert!(status.success(), "rank {rank} of {size}: {status}\n{told}");
    }
}
