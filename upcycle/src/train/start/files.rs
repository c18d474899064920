//! Which files make up a state, in the order of their ranks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Told;
use crate::train::error::{Result, TrainError};

const ENDING: &str = "_optim_states.pt";

/// The file at `path`, or the files of all ranks in the folder there.
pub(super) fn rank_files(path: &Path) -> Result<Vec<PathBuf>> {
    let about = std::fs::metadata(path).map_err(|source| TrainError::io(path, source))?;
    if !about.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let read = std::fs::read_dir(path).map_err(|source| TrainError::io(path, source))?;
    let names = read.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name.ends_with(ENDING));
    let ordered = ordered(names.collect()).map_err(|reason| TrainError::checkpoint(path, reason))?;
    Ok(ordered.into_iter().map(|name| path.join(name)).collect())
}

/// Names by rank: numbers, not letters, decide (rank 10 comes after rank 9), and none may be absent.
fn ordered(names: Vec<String>) -> Told<Vec<String>> {
    if names.is_empty() {
        return Err(format!("holds no file called …{ENDING}"));
    }
    let mut ranks = BTreeMap::new();
    for name in names {
        let (data, model) = places(&name).ok_or_else(|| format!("{name} names no rank as DeepSpeed does"))?;
        if model != 0 {
            return Err(format!("{name} is of model-parallel rank {model}, and only states of one such rank are read"));
        }
        if let Some(other) = ranks.insert(data, name.clone()) {
            return Err(format!("{other} and {name} are both there"));
        }
    }
    let expected = if ranks.contains_key(&None) { vec![None] } else { (0..ranks.len()).map(Some).collect() };
    match expected.iter().find(|rank| !ranks.contains_key(rank)) {
        Some(Some(absent)) => Err(format!("holds {} ranks and not rank {absent}", ranks.len())),
        _ if ranks.len() > expected.len() => Err("holds a file of all ranks and files of single ranks".into()),
        _ => Ok(ranks.into_values().collect()),
    }
}

/// Data-parallel rank, where the name tells one, and model-parallel rank.
fn places(name: &str) -> Option<(Option<usize>, usize)> {
    let middle = name.strip_suffix(ENDING)?;
    let middle = middle.strip_prefix("bf16_").unwrap_or(middle).strip_prefix("zero_pp_")?;
    match middle.strip_prefix("rank_") {
        Some(ranks) => {
            let (data, model) = ranks.split_once("_mp_rank_")?;
            Some((Some(data.parse().ok()?), model.parse().ok()?))
        }
        None => Some((None, middle.strip_prefix("mp_rank_")?.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ranks(ranks: impl IntoIterator<Item = usize>) -> Vec<String> {
        ranks.into_iter().map(|rank| format!("bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")).collect()
    }

    #[test]
    fn ranks_are_in_the_order_of_their_numbers() {
        assert_eq!(ordered(of_ranks((0..12).rev())).unwrap(), of_ranks(0..12));
        let merged = vec!["bf16_zero_pp_mp_rank_00_optim_states.pt".to_owned()];
        assert_eq!(ordered(merged.clone()).unwrap(), merged);
        assert_eq!(ordered(vec!["zero_pp_rank_0_mp_rank_00_optim_states.pt".into()]).unwrap().len(), 1);
    }

    #[test]
    fn absent_and_doubtful_files_are_named() {
        assert!(ordered(Vec::new()).unwrap_err().contains("no file"));
        assert!(ordered(of_ranks([0, 2])).unwrap_err().contains("not rank 1"));
        let with = |name: &str| ordered([of_ranks([0]), vec![name.to_owned()]].concat()).unwrap_err();
        assert!(with("zero_pp_rank_0_mp_rank_00_optim_states.pt").contains("both"));
        assert!(with("bf16_zero_pp_mp_rank_00_optim_states.pt").contains("all ranks"));
        assert!(with("bf16_zero_pp_rank_1_mp_rank_01_optim_states.pt").contains("model-parallel rank 1"));
        assert!(with("bf16_zero_pp_rank_x_mp_rank_00_optim_states.pt").contains("names no rank"));
    }
}
