//! Upcycling methods: how the tensors of a converted layer come from those of the dense one.
//!
//! A method is one file here and one line in [`ALL`]. It states a [`Recipe`] for every tensor of a converted layer and moves no
//! data itself: the converter streams. The command line, the documentation and the tests list [`ALL`].

mod copy;

use coppice_models::Config;
use tch::Tensor;

use crate::convert::error::Result;
use crate::convert::options::{Options, unknown};

/// Every method, in the order they are listed.
pub const ALL: &[&dyn Method] = &[&copy::Copy];

/// The method called `name`.
///
/// # Errors
/// When there is none; the nearest is named.
pub fn find(name: &str) -> Result<&'static dyn Method> {
    let known: Vec<&str> = ALL.iter().map(|method| method.name()).collect();
    ALL.iter().copied().find(|method| method.name() == name).ok_or_else(|| unknown("upcycling method", name, &known))
}

/// A way of growing one dense MLP into routed experts.
pub trait Method: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// One line for lists: what becomes of the weights, and the paper.
    fn summary(&self) -> &'static str;

    /// Refuses options this method cannot follow for a model of this configuration.
    ///
    /// # Errors
    /// One sentence naming the option.
    fn check(&self, config: &Config, options: &Options) -> Result<()>;

    /// `F` of one expert.
    fn expert_width(&self, config: &Config, options: &Options) -> i64;

    /// How one tensor of a converted layer is made.
    fn recipe(&self, target: &Target, options: &Options) -> Recipe;

    /// Why a source tensor goes into no tensor of the result. None: it must, and a conversion that leaves it out is refused.
    fn drops(&self, _origin: &Origin, _options: &Options) -> Option<String> {
        None
    }
}

/// One tensor of a converted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Index of the layer in the model.
    pub layer: usize,
    /// Full name in the output.
    pub name: String,
    /// Which part of the layer it is.
    pub part: Part,
    /// Shape in the output.
    pub shape: Vec<i64>,
}

impl Target {
    /// The projection of the dense MLP this layer grew from, in the first checkpoint.
    pub fn dense(&self, projection: Projection) -> Origin {
        self.dense_of(0, projection)
    }

    /// The same in another checkpoint.
    pub fn dense_of(&self, checkpoint: usize, projection: Projection) -> Origin {
        Origin { checkpoint, tensor: format!("model.layers.{}.mlp.{}.weight", self.layer, projection.name()) }
    }
}

/// The parts of a routed MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `[N, D]`.
    Router,
    /// One matrix of one expert.
    Expert(usize, Projection),
}

/// The matrices of a gated MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// `[F, D]`.
    Gate,
    /// `[F, D]`.
    Up,
    /// `[D, F]`.
    Down,
}

impl Projection {
    /// All three, in file order.
    pub const ALL: [Self; 3] = [Self::Gate, Self::Up, Self::Down];

    /// The module's name in a checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }
}

/// A tensor of one of the checkpoints a conversion reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// 0 is the model, the others its branches in order.
    pub checkpoint: usize,
    /// Full name there.
    pub tensor: String,
}

impl Origin {
    /// A tensor of the first checkpoint.
    pub fn first(tensor: impl Into<String>) -> Self {
        Self { checkpoint: 0, tensor: tensor.into() }
    }
}

/// Makes a target tensor (f32) from source tensors (f32, in the order the recipe names them).
pub type Make = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

/// How a tensor of the output is made.
pub enum Recipe {
    /// A source tensor, element for element.
    Copy(Origin),
    /// Computed from source tensors, or from none (drawn, zeros).
    Made {
        /// The tensors that are read.
        sources: Vec<Origin>,
        /// The source tensor whose element type it takes.
        like: Origin,
        /// The computation, in f32.
        make: Make,
        /// What it does, for the manifest: `scaled by 8`, `drawn from N(0, 0.02)`.
        note: String,
    },
}

impl Recipe {
    /// The source tensors whose values go into the result.
    pub fn sources(&self) -> &[Origin] {
        match self {
            Self::Copy(source) => std::slice::from_ref(source),
            Self::Made { sources, .. } => sources,
        }
    }

    /// The source tensor whose element type the result takes.
    pub fn like(&self) -> &Origin {
        match self {
            Self::Copy(source) => source,
            Self::Made { like, .. } => like,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_name_and_others_are_not() {
        for method in ALL {
            assert_eq!(find(method.name()).unwrap().name(), method.name());
            assert!(!method.summary().is_empty());
        }
        let sentence = find("coppy").err().unwrap().to_string();
        assert!(sentence.contains("\"coppy\"") && sentence.contains("nearest is \"copy\""), "{sentence}");
    }
}
