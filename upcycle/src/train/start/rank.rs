//! What one file says, before any of it is put together.
//!
//! ZeRO stage 1 and 2 without bf16 (`deepspeed/runtime/zero/stage_1_and_2.py`) writes the same keys as the bf16 optimizer, in elastic
//! checkpoints a list of one entry a group in place of torch's `state`. A state by parameter is torch's `state_dict` with names for keys.

use std::ops::Range;

use tch::Kind;

use crate::pickle::{StoredTensor, TorchFile, Value};
use crate::train::error::{Result, TrainError};

/// The f32 weights, the first and the second moment: what the optimizer keeps of a vector. States by parameter may lack the weights.
pub(super) type Triple = [Option<StoredTensor>; 3];

/// The keys of a [`Triple`] in a state by parameter.
const KEYS: [&str; 3] = ["fp32", "exp_avg", "exp_avg_sq"];

/// One vector with its moments.
#[derive(Debug)]
pub(super) struct Vectors {
    pub(super) kept: Triple,
    /// The parameters in it and where they lie, in a file that tells.
    pub(super) mapping: Option<Vec<(String, Range<usize>)>>,
}

impl Vectors {
    /// Elements that all of them have. ZeRO saves weights without what fills up the last rank, and moments with it.
    pub(super) fn len(&self) -> usize {
        self.kept.iter().flatten().map(StoredTensor::numel).min().unwrap_or(0)
    }
}

/// The content of one file.
#[derive(Debug)]
pub(super) struct Rank {
    /// One a group of parameters, or one a parameter.
    pub(super) vectors: Vec<Vectors>,
    /// Updates made.
    pub(super) step: u64,
    /// Data-parallel ranks each group was cut for, where the file tells.
    pub(super) partitions: Vec<i64>,
}

/// Reads what a file says.
pub(super) fn read(file: &TorchFile) -> Result<Rank> {
    let root = file.root();
    let state = root.get("optimizer_state_dict").unwrap_or(root);
    let reader = Reader { file };
    match state.get("base_optimizer_state") {
        Some(base) => reader.flat(state, base),
        None => reader.named(state),
    }
}

struct Reader<'a> {
    file: &'a TorchFile,
}

impl<'a> Reader<'a> {
    fn flat(&self, state: Value<'a>, base: Value<'a>) -> Result<Rank> {
        let groups = state.get("single_partition_of_fp32_groups").and_then(Value::elements);
        let groups: Vec<Value> = groups.ok_or_else(|| self.lacks("single_partition_of_fp32_groups, a list"))?.collect();
        let mappings =
            state.get("param_slice_mappings").filter(|mappings| !mappings.is_none()).map(|m| self.list(m, "param_slice_mappings"));
        let mappings = mappings.transpose()?.filter(|mappings| !mappings.is_empty());
        let (mut vectors, mut steps) = (Vec::new(), Vec::new());
        for (index, weights) in groups.into_iter().enumerate() {
            let of = of_group(base, index).ok_or_else(|| self.lacks(&format!("base_optimizer_state of group {index}")))?;
            let kept = [Some(self.vector(weights, "fp32")?), Some(self.moment(of, "exp_avg")?), Some(self.moment(of, "exp_avg_sq")?)];
            let mapping =
                mappings.as_ref().map(|all| all.get(index).ok_or_else(|| self.lacks(&format!("param_slice_mappings of group {index}"))));
            vectors.push(Vectors { kept, mapping: mapping.transpose()?.map(|mapping| self.mapping(*mapping)).transpose()? });
            steps.push(self.step(of.get("step").or_else(|| step_of_group(base, index)))?);
        }
        let step = self.same(&steps)?;
        let partitions = state.get("partition_count").map(integers).unwrap_or_default();
        self.checked(Rank { vectors, step, partitions })
    }

    fn named(&self, state: Value<'a>) -> Result<Rank> {
        let items = state.get("state").and_then(Value::items);
        let items = items.ok_or_else(|| self.lacks("optimizer_state_dict, base_optimizer_state or state, one of which says what it is"))?;
        let (mut vectors, mut steps) = (Vec::new(), Vec::new());
        for (key, of) in items {
            let name = key.text().ok_or_else(|| self.wrong("a key of state", key, "a parameter's name"))?;
            let tensor = |key: &str| of.get(key).map(|value| self.tensor(value, &format!("{key} of {name}"))).transpose();
            let kept = [tensor(KEYS[0])?, tensor(KEYS[1])?, tensor(KEYS[2])?];
            if kept[1].is_none() || kept[2].is_none() {
                return Err(self.lacks(&format!("exp_avg and exp_avg_sq of {name}")));
            }
            let numel = kept[1].as_ref().map_or(0, StoredTensor::numel);
            vectors.push(Vectors { kept, mapping: Some(vec![(name.to_owned(), 0..numel)]) });
            steps.push(self.step(of.get("step"))?);
        }
        let step = self.same(&steps)?;
        self.checked(Rank { vectors, step, partitions: Vec::new() })
    }

    /// Refuses vectors whose moments are not theirs, and parameters that lie outside of them.
    fn checked(&self, rank: Rank) -> Result<Rank> {
        for (index, vectors) in rank.vectors.iter().enumerate() {
            let [weights, mean, square] = vectors.kept.each_ref().map(|kept| kept.as_ref().map_or(0, StoredTensor::numel));
            if mean != square || weights > mean {
                let found = format!("vector {index} has {weights} weights and moments of {mean} and {square} elements");
                return Err(self.refuse(format!("{found}, expected equal numbers")));
            }
            let outside = |(_, range): &&(String, Range<usize>)| range.start > range.end || range.end > vectors.len();
            if let Some((name, range)) = vectors.mapping.iter().flatten().find(outside) {
                return Err(self.refuse(format!("{name} lies at {range:?} of a vector of {} elements", vectors.len())));
            }
        }
        Ok(rank)
    }

    fn moment(&self, of: Value<'a>, key: &str) -> Result<StoredTensor> {
        self.vector(of.get(key).ok_or_else(|| self.lacks(key))?, key)
    }

    fn vector(&self, value: Value<'a>, what: &str) -> Result<StoredTensor> {
        let tensor = self.tensor(value, what)?;
        if tensor.size().len() == 1 {
            Ok(tensor)
        } else {
            Err(self.refuse(format!("{what} has shape {:?}, expected a vector", tensor.size())))
        }
    }

    fn tensor(&self, value: Value<'a>, what: &str) -> Result<StoredTensor> {
        let tensor = value.tensor().ok_or_else(|| self.wrong(what, value, "a tensor"))?;
        let float = matches!(tensor.kind(), Kind::Float | Kind::BFloat16 | Kind::Half | Kind::Double);
        if !float || !tensor.is_contiguous() {
            return Err(self.refuse(format!("{what} is {:?} of strides that are not plain, expected floats in their order", tensor.kind())));
        }
        Ok(tensor.clone())
    }

    /// Names and places of a group's fragments.
    fn mapping(&self, value: Value<'a>) -> Result<Vec<(String, Range<usize>)>> {
        let items = value.items().ok_or_else(|| self.wrong("an entry of param_slice_mappings", value, "a dictionary"))?;
        items.map(|(name, address)| self.fragment(name, address)).collect()
    }

    fn fragment(&self, name: Value<'a>, address: Value<'a>) -> Result<(String, Range<usize>)> {
        let name = name.text().ok_or_else(|| self.wrong("a key of param_slice_mappings", name, "a parameter's name"))?;
        let number = |field: &str| address.get(field).and_then(Value::int).and_then(|number| usize::try_from(number).ok());
        let range = number("start").zip(number("numel")).and_then(|(start, numel)| Some(start..start.checked_add(numel)?));
        range.map(|range| (name.to_owned(), range)).ok_or_else(|| self.wrong(name, address, "a fragment's start and numel"))
    }

    /// A number of updates: a whole number, or a tensor of one as torch keeps it.
    fn step(&self, value: Option<Value<'a>>) -> Result<u64> {
        let value = value.ok_or_else(|| self.lacks("a step"))?;
        let number = match value.tensor().filter(|tensor| tensor.numel() == 1) {
            Some(tensor) => self.file.read(tensor, Kind::Double)?.f_double_value(&vec![0; tensor.size().len()])?,
            None => value.float().ok_or_else(|| self.wrong("step", value, "a number"))?,
        };
        let whole = number >= 0.0 && number < 2f64.powi(53) && number.fract() == 0.0;
        if whole { Ok(number as u64) } else { Err(self.refuse(format!("step is {number}, expected a number of updates"))) }
    }

    fn same(&self, steps: &[u64]) -> Result<u64> {
        let first = *steps.first().ok_or_else(|| self.lacks("any parameter"))?;
        match steps.iter().find(|&&step| step != first) {
            Some(other) => Err(self.refuse(format!("some parameters are at step {first}, others at step {other}"))),
            None => Ok(first),
        }
    }

    fn list(&self, value: Value<'a>, what: &str) -> Result<Vec<Value<'a>>> {
        Ok(value.elements().ok_or_else(|| self.wrong(what, value, "a list"))?.collect())
    }

    fn wrong(&self, what: &str, found: Value, expected: &str) -> TrainError {
        self.refuse(format!("{what} is {}, expected {expected}", found.noun()))
    }

    fn lacks(&self, what: &str) -> TrainError {
        self.refuse(format!("lacks {what}: it is no optimizer state of a known layout"))
    }

    fn refuse(&self, reason: String) -> TrainError {
        TrainError::checkpoint(self.file.path(), reason)
    }
}

/// What the optimizer keeps of a group: torch's `state` by number, or a list of one entry a group.
fn of_group(base: Value<'_>, index: usize) -> Option<Value<'_>> {
    match base.get("state") {
        Some(state) => state.items()?.find(|(key, _)| key.int() == Some(index as i64)).map(|(_, value)| value),
        None => base.elements()?.nth(index),
    }
}

/// Adam of DeepSpeed and apex count in the group.
fn step_of_group(base: Value<'_>, index: usize) -> Option<Value<'_>> {
    base.get("param_groups")?.elements()?.nth(index)?.get("step")
}

fn integers(list: Value<'_>) -> Vec<i64> {
    list.elements().map(|elements| elements.filter_map(Value::int).collect()).unwrap_or_default()
}
