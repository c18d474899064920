//! Ranks played by the shell: how they are dressed, and how their ends become one.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::{run_each, without_nproc};
use crate::common::Outcome;

const LONG: Duration = Duration::from_secs(60);

/// Two ranks that run a script.
fn two(script: &str, grace: Duration) -> Outcome {
    run_each(|| shell(script), 2, grace, &AtomicBool::new(false)).unwrap()
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn ranks_get_torchruns_variables() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"];
    let script = format!("echo {} > {}/$RANK", names.map(|name| format!("${name}")).join(" "), folder.path().display());
    assert_eq!(two(&script, LONG), Outcome::Done);
    let told = |rank: &str| fs::read_to_string(folder.path().join(rank)).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (told("0"), told("1"));
    assert_eq!(first[..5], ["0", "2", "0", "2", "127.0.0.1"]);
    assert_eq!(second[..5], ["1", "2", "1", "2", "127.0.0.1"]);
    assert_eq!(first[5..], second[5..]);
    assert!(first[5].parse::<u16>().unwrap() > 0 && first[6].parse::<usize>().unwrap() > 0);
}

#[test]
fn the_first_failure_decides() {
    assert_eq!(two("exit 0", LONG), Outcome::Done);
    assert_eq!(two("[ $RANK = 0 ] || exit 2", LONG), Outcome::Exit(2));
    assert_eq!(two("[ $RANK = 1 ] && exit 3; sleep 0.5; exit 2", LONG), Outcome::Exit(3));
    assert_eq!(two("[ $RANK = 1 ] && exit 130; exit 0", LONG), Outcome::Exit(130));
    assert_eq!(two("[ $RANK = 1 ] && kill -KILL $$; exit 0", LONG), Outcome::Exit(1));
}

#[test]
fn ranks_that_go_on_after_a_failure_are_killed() {
    let start = Instant::now();
    assert_eq!(two("[ $RANK = 1 ] && exit 2; exec sleep 50", Duration::from_millis(300)), Outcome::Exit(2));
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(20));
}

#[test]
fn ranks_that_end_within_the_grace_period_do_so_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("[ $RANK = 1 ] && exit 2; sleep 0.5; touch {}/saved", folder.path().display());
    assert_eq!(two(&script, LONG), Outcome::Exit(2));
    assert!(folder.path().join("saved").exists());
}

/// Runs two ranks of a script that touch `ready-RANK` in `$FOLDER`, and asks them to stop when both have.
fn stopped(script: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let command = || {
        let mut command = shell(script);
        command.env("FOLDER", folder.path());
        command
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !(0..2).all(|rank| folder.path().join(format!("ready-{rank}")).exists()) {
                thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::SeqCst);
        });
        run_each(command, 2, Duration::from_millis(100), &stop).unwrap()
    })
}

#[test]
fn an_interruption_reaches_every_rank_once_and_leaves_time_to_save() {
    let slow = "trap 'again=$again.; sleep 0.6; [ $again = . ] && exit 130' TERM; touch $FOLDER/ready-$RANK; while :; do sleep 0.05; done";
    assert_eq!(stopped(slow), Outcome::Exit(130));
    assert_eq!(stopped("touch $FOLDER/ready-$RANK; exec sleep 50"), Outcome::Exit(130), "ranks without a handler");
    let one = "trap '[ $RANK = 0 ] && exit 130; exit 2' TERM; touch $FOLDER/ready-$RANK; while :; do sleep 0.05; done";
    assert_eq!(stopped(one), Outcome::Exit(2), "a rank that could not save");
}

#[test]
fn ranks_are_told_when_the_process_that_started_them_ends() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("trap 'touch {0}/told; exit' TERM; touch {0}/ready; while :; do sleep 0.05; done", folder.path().display());
    let wait_for = |name: &str| {
        let start = Instant::now();
        while !folder.path().join(name).exists() {
            assert!(start.elapsed() < LONG, "{name}");
            thread::sleep(Duration::from_millis(5));
        }
    };
    let mut command = shell(&script);
    super::dress(&mut command, 0, 1, 1);
    // The thread stands for the process: the kernel signals when it ends.
    let start = || {
        let child = command.spawn().unwrap();
        wait_for("ready");
        child
    };
    let mut child = thread::scope(|scope| scope.spawn(start).join().unwrap());
    wait_for("told");
    child.wait().unwrap();
}

#[test]
fn nproc_is_the_only_argument_left_out() {
    let without = |line: &str| without_nproc(line.split(' ').map(Into::into)).join(" ".as_ref()).into_string().unwrap();
    for (line, left) in [
        ("train r.toml --nproc 2 --json", "train r.toml --json"),
        ("train --nproc=2 r.toml", "train r.toml"),
        ("train r.toml --nproc 2", "train r.toml"),
        ("train --output --nproc-folder -- --nproc", "train --output --nproc-folder -- --nproc"),
    ] {
        assert_eq!(without(line), left);
    }
}
