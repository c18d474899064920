//! The state of a dense model, read by parameter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coppice_models::Config;
use tch::{Kind, Tensor};

use super::cut::{Place, places};
use super::files::rank_files;
use super::flat::{Piece, pieces};
use super::names::Part;
use super::rank::{Rank, read};
use crate::pickle::TorchFile;
use crate::train::error::Result;

/// One of the things an optimizer keeps of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The weights in f32.
    Master = 0,
    /// Exponential average of the gradient.
    Mean = 1,
    /// Exponential average of its square.
    Square = 2,
}

/// What DeepSpeed kept of a dense model: weights in f32 and Adam's moments by parameter. Nothing is read before it is asked for.
#[derive(Debug)]
pub struct DenseState {
    path: PathBuf,
    files: Vec<TorchFile>,
    ranks: Vec<Rank>,
    places: BTreeMap<String, Place>,
    heads: i64,
}

impl DenseState {
    /// Opens the file at `path`, or the files of all ranks in the folder there, as the state of the dense model of `config` (of the dense
    /// parent, where it has experts).
    ///
    /// # Errors
    /// One sentence naming the file and what is wrong: it is no file of torch.save or would have to be executed, a rank is absent, a
    /// parameter is absent, unknown or of another size.
    pub fn open(path: impl AsRef<Path>, config: &Config) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let config = Config { moe: None, ..config.clone() };
        let files = rank_files(&path)?.iter().map(|path| Ok(TorchFile::open(path)?)).collect::<Result<Vec<_>>>()?;
        let ranks = files.iter().map(read).collect::<Result<Vec<_>>>()?;
        let places = places(&path, &config, &pieces(&path, &ranks, &config)?)?;
        Ok(Self { path, files, ranks, places, heads: config.num_attention_heads })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Updates made by the optimizer.
    pub fn step(&self) -> u64 {
        self.ranks[0].step
    }

    /// Names of the parameters it holds something of, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// What was kept of a parameter, in f32, of the parameter's shape, on the CPU; none where nothing was.
    ///
    /// # Errors
    /// When the file is damaged there.
    pub fn read(&self, name: &str, kept: Kept) -> Result<Option<Tensor>> {
        let Some(place) = self.places.get(name) else { return Ok(None) };
        let parts = place.pieces.iter().map(|piece| self.piece(piece, kept)).collect::<Result<Option<Vec<_>>>>()?;
        parts.map(|parts| self.shaped(&Tensor::f_cat(&parts, 0)?, place)).transpose()
    }

    fn piece(&self, piece: &Piece, kept: Kept) -> Result<Option<Tensor>> {
        let Some(vector) = &self.ranks[piece.rank].vectors[piece.vector].kept[kept as usize] else { return Ok(None) };
        Ok(Some(self.files[piece.rank].read_flat(vector, piece.range.clone(), Kind::Float)?))
    }

    /// The part of a parameter in the file that is the model's, in the model's shape.
    fn shaped(&self, numbers: &Tensor, place: &Place) -> Result<Tensor> {
        let numel = place.shape.iter().product();
        match place.part {
            Part::Whole => Ok(numbers.f_narrow(0, 0, numel)?.f_view(&place.shape[..])?),
            Part::Heads(index) => {
                let by_head = numbers.f_view([self.heads, 3, -1])?; // [heads, 3, head_dim · columns]
                Ok(by_head.f_select(1, index)?.f_reshape(&place.shape[..])?)
            }
        }
    }
}
