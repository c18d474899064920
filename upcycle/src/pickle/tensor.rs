//! Tensors as a file describes them: a view into a storage, checked before anything is read by it.

use tch::Kind;

use super::error::{Outcome, fault};

/// Raw numbers of one kind, an entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    /// Name of its entry below `data/`.
    pub(super) key: String,
    pub(super) kind: Kind,
    /// How many numbers it holds.
    pub(super) numel: usize,
}

/// A tensor in a file. Its numbers are read by [`super::TorchFile::read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
}

/// More dimensions than any tensor of a model has.
pub(super) const MOST_DIMENSIONS: usize = 8;

impl StoredTensor {
    /// A view that lies within its storage and is no larger than it: one number repeated a million times is not worth a million.
    pub(super) fn new(storage: Storage, offset: i64, size: Vec<i64>, stride: Vec<i64>) -> Outcome<Self> {
        if size.len() != stride.len() || size.len() > MOST_DIMENSIONS {
            return fault(format!("a tensor of {} dimensions and {} strides", size.len(), stride.len()));
        }
        let inside = reach(offset, &size, &stride).filter(|&reach| reach <= storage.numel as u64);
        let numel = numel(&size).filter(|&numel| numel <= storage.numel as u64);
        if inside.is_none() || numel.is_none() {
            let numel = storage.numel;
            return fault(format!("a tensor of shape {size:?}, strides {stride:?} and offset {offset} in a storage of {numel} numbers"));
        }
        Ok(Self { storage, offset: offset as usize, size, stride })
    }

    /// Element type in the file.
    pub fn kind(&self) -> Kind {
        self.storage.kind
    }

    /// Shape, outermost dimension first.
    pub fn size(&self) -> &[i64] {
        &self.size
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.size.iter().product::<i64>() as usize
    }

    /// Whether its elements lie one behind the other in their order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.size.iter().zip(&self.stride).rev() {
            if size != 1 && stride != expected {
                return false;
            }
            expected *= size;
        }
        true
    }

    /// Numbers of the storage from the tensor's first to its last.
    pub(super) fn span(&self) -> usize {
        reach(0, &self.size, &self.stride).unwrap_or(0) as usize
    }
}

/// One past the last number of a storage that a view touches; none where a quantity is negative or too large to count.
fn reach(offset: i64, size: &[i64], stride: &[i64]) -> Option<u64> {
    let mut last = u64::try_from(offset).ok()?;
    for (&size, &stride) in size.iter().zip(stride) {
        let (size, stride) = (u64::try_from(size).ok()?, u64::try_from(stride).ok()?);
        last = last.checked_add(size.saturating_sub(1).checked_mul(stride)?)?;
    }
    if size.contains(&0) { u64::try_from(offset).ok() } else { last.checked_add(1) }
}

fn numel(size: &[i64]) -> Option<u64> {
    size.iter().try_fold(1u64, |all, &size| all.checked_mul(u64::try_from(size).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(numel: usize, offset: i64, size: &[i64], stride: &[i64]) -> Outcome<StoredTensor> {
        StoredTensor::new(Storage { key: "0".into(), kind: Kind::Float, numel }, offset, size.to_vec(), stride.to_vec())
    }

    #[test]
    fn views_within_their_storage_are_taken_and_others_refused() {
        assert_eq!(view(6, 0, &[2, 3], &[3, 1]).unwrap().span(), 6);
        assert_eq!(view(6, 1, &[2, 2], &[3, 1]).unwrap().span(), 5);
        assert_eq!(view(6, 6, &[0, 9], &[9, 1]).unwrap().numel(), 0);
        assert_eq!(view(6, 5, &[], &[]).unwrap().numel(), 1);
        for (offset, size, stride) in [
            (0, vec![7], vec![1]),
            (6, vec![1], vec![1]),
            (0, vec![2, 3], vec![4, 1]),
            (-1, vec![1], vec![1]),
            (0, vec![-1], vec![1]),
            (0, vec![2], vec![-1]),
            (0, vec![i64::MAX, i64::MAX], vec![i64::MAX, i64::MAX]),
            (0, vec![1 << 40], vec![0]),
            (0, vec![2], vec![1, 1]),
            (0, vec![1; 9], vec![1; 9]),
        ] {
            assert!(view(6, offset, &size, &stride).is_err(), "{offset} {size:?} {stride:?}");
        }
    }

    #[test]
    fn rows_are_contiguous_and_columns_are_not() {
        assert!(view(6, 0, &[2, 3], &[3, 1]).unwrap().is_contiguous());
        assert!(view(6, 0, &[1, 6], &[1, 1]).unwrap().is_contiguous());
        assert!(!view(6, 0, &[3, 2], &[1, 3]).unwrap().is_contiguous());
    }
}
