//! `train --nproc`: what is refused before any rank is started, in one sentence.

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, json_of, recipe, refused, stderr};

const GOOD: &str = "steps = 2\nschedule = { peak = 1e-3 }";

#[test]
fn a_number_of_ranks_that_cannot_be_is_refused() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    for bad in ["0", "-1", "two", "1.5", ""] {
        let output = ended(&mut coppice(["train", &recipe, "--output", &folder.arg("run"), &format!("--nproc={bad}")]), 2);
        assert!(stderr(&output).contains("--nproc"), "{}", stderr(&output));
        assert!(!folder.path("run").exists());
    }
}

#[test]
fn ranks_within_a_rank_are_refused() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    let told = refused(coppice(["train", &recipe, "--output", &folder.arg("run"), "--nproc", "2"]).env("RANK", "0"));
    assert!(told.contains("--nproc") && told.contains("RANK is set"), "{told}");
    assert!(!folder.path("run").exists());
}

#[test]
fn a_bad_recipe_is_told_once_and_not_by_every_rank() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 0\nschedule = { peak = 1e-3 }");
    let told = refused(&mut coppice(["train", &recipe, "--output", &folder.arg("run"), "--nproc", "2"]));
    assert!(told.contains("steps"), "{told}");
    assert!(!folder.path("run").exists());
}

#[test]
fn a_dry_run_plans_for_all_ranks_and_starts_none() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    let plan =
        |ranks: &str| json_of(&mut coppice(["train", &recipe, "--output", &folder.arg("run"), "--dry-run", "--json", "--nproc", ranks]));
    assert_eq!(plan("1")["parameters"], plan("2")["parameters"]);
    assert!(!folder.path("run").exists());
}
