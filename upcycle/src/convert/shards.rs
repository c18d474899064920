//! How tensors are spread over files: equal parts that are mapped as one tensor stay in one file, and each starts where mapping works.

use std::cmp::Reverse;

use super::plan::{Plan, Step};
use crate::writer::{ALIGNMENT, TensorHeader};

/// One weights file.
pub(crate) struct Shard<'a> {
    /// Its name.
    pub(crate) name: String,
    /// Its tensors, in the order they lie in it.
    pub(crate) steps: Vec<&'a Step>,
}

impl Shard<'_> {
    /// Bytes of its tensors.
    pub(crate) fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.header.bytes() as u64).sum()
    }

    /// The headers of its tensors.
    pub(crate) fn headers(&self) -> Vec<TensorHeader> {
        self.steps.iter().map(|step| step.header.clone()).collect()
    }
}

/// Tensors that must lie one behind the other.
type Stretch<'a> = &'a [Step];

impl Plan {
    /// The files, none above `largest` bytes of tensors unless it holds one tensor alone. One matrix of all experts of a layer is split over
    /// files only where it is larger than `largest` by itself.
    pub(crate) fn shards(&self, largest: u64) -> Vec<Shard<'_>> {
        let whole = self.steps.chunk_by(|a, b| stretch(&a.header.name) == stretch(&b.header.name));
        let parts: Vec<Stretch> = whole.flat_map(|steps| steps.chunks(if size(steps) > largest { 1 } else { steps.len() })).collect();
        let mut files: Vec<Vec<Stretch>> = Vec::new();
        let mut room = 0;
        for part in parts {
            match files.last_mut().filter(|_| size(part) <= room) {
                Some(file) => file.push(part),
                None => (_, room) = (files.push(vec![part]), largest),
            }
            room = room.saturating_sub(size(part));
        }
        let count = files.len();
        files.into_iter().enumerate().map(|(index, file)| Shard { name: file_name(index + 1, count), steps: aligned(file) }).collect()
    }
}

/// Puts last what is no multiple of [`ALIGNMENT`] long, wide elements first, so that everything starts at a multiple of its element and
/// all but those at a multiple of [`ALIGNMENT`].
fn aligned(mut file: Vec<Stretch<'_>>) -> Vec<&Step> {
    file.sort_by_key(|part| {
        let odd = part.iter().any(|step| !step.header.bytes().is_multiple_of(ALIGNMENT));
        (odd, Reverse(if odd { part[0].header.dtype.bitsize() } else { 0 }))
    });
    file.into_iter().flatten().collect()
}

fn size(steps: &[Step]) -> u64 {
    steps.iter().map(|step| step.header.bytes() as u64).sum()
}

/// The name without the number of an expert or of a head's norm, and that number's kind: equal for tensors that are packed in memory.
fn stretch(name: &str) -> (&str, &str) {
    for list in [".mlp.experts.", ".norms."] {
        if let Some((before, rest)) = name.split_once(list) {
            return (before, rest.split_once('.').map_or(rest, |(_, after)| after));
        }
    }
    (name, "")
}

fn file_name(number: usize, count: usize) -> String {
    if count == 1 { "model.safetensors".into() } else { format!("model-{number:05}-of-{count:05}.safetensors") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::{Origin, Recipe};
    use coppice_models::Config;
    use safetensors::Dtype;

    fn plan(tensors: &[(&str, usize)]) -> Plan {
        let config = Config::from_json(&serde_json::json!({"model_type": "stablelm", "vocab_size": 8, "hidden_size": 8,
            "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}));
        let step = |&(name, bytes): &(&str, usize)| Step {
            header: TensorHeader { name: name.into(), dtype: Dtype::F16, shape: vec![bytes / 2] },
            recipe: Recipe::Copy(Origin::first("")),
        };
        Plan { config: config.unwrap(), steps: tensors.iter().map(step).collect() }
    }

    fn sizes(tensors: &[(&str, usize)], largest: u64) -> Vec<Vec<usize>> {
        let plan = plan(tensors);
        plan.shards(largest).iter().map(|shard| shard.steps.iter().map(|step| step.header.bytes()).collect()).collect()
    }

    #[test]
    fn files_hold_at_most_their_size_or_one_tensor() {
        let names = ["a", "b", "c", "d", "e"];
        let named = |sizes: &[usize]| names.into_iter().zip(sizes.iter().map(|size| size * 64)).collect::<Vec<_>>();
        let in_units = |files: Vec<Vec<usize>>| -> Vec<Vec<usize>> {
            files.into_iter().map(|file| file.into_iter().map(|bytes| bytes / 64).collect()).collect()
        };
        assert_eq!(in_units(sizes(&named(&[4, 4, 4]), 640)), [vec![4, 4], vec![4]]);
        assert_eq!(in_units(sizes(&named(&[30, 4, 6, 2]), 640)), [vec![30], vec![4, 6], vec![2]]);
        assert_eq!(in_units(sizes(&named(&[10]), 640)), [vec![10]]);
        assert_eq!(in_units(sizes(&named(&[6, 6, 4, 12, 10]), 640)), [vec![6], vec![6, 4], vec![12], vec![10]]);
    }

    #[test]
    fn one_matrix_of_all_experts_is_not_split_unless_it_must() {
        let experts = |size| [("l.0.mlp.experts.0.up_proj.weight", size), ("l.0.mlp.experts.1.up_proj.weight", size)];
        let (small, large) = (experts(256), experts(512));
        assert_eq!(sizes(&[("a", 256), small[0], small[1]], 640), [vec![256], vec![256, 256]]);
        assert_eq!(sizes(&[small[0], small[1], ("l.0.mlp.experts.0.down_proj.weight", 128)], 640), [vec![256, 256, 128]]);
        assert_eq!(sizes(&[("a", 128), large[0], large[1]], 640), [vec![128, 512], vec![512]]);
    }

    #[test]
    fn what_is_not_a_multiple_of_the_alignment_comes_last() {
        assert_eq!(sizes(&[("a", 6), ("b", 128), ("c", 10), ("d", 64)], 640), [vec![128, 64, 6, 10]]);
    }
}
