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
}

impl Target {
    /// Full name of a projection of the dense MLP this layer grew from.
    pub fn dense(&self, projection: Projection) -> String {
        format!("model.layers.{}.mlp.{}.weight", self.layer, projection.name())
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

/// Makes a target tensor (f32) from a source tensor (f32).
pub type Derive = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// How a tensor of the output is made.
pub enum Recipe {
    /// The named source tensor, element for element.
    Copy(String),
    /// Drawn from `N(0, std)`, seeded by the conversion's seed and the target's name.
    Normal {
        /// Standard deviation.
        std: f64,
        /// Source tensor whose element type it takes.
        like: String,
    },
    /// Computed from one source tensor.
    Derived {
        /// Name of the source tensor.
        source: String,
        /// The computation, in f32.
        make: Derive,
        /// What it does, for the manifest.
        note: String,
    },
}

impl Recipe {
    /// The source tensor that is read for values or, for drawn ones, only for its element type.
    pub fn source(&self) -> &str {
        match self {
            Self::Copy(source) | Self::Derived { source, .. } => source,
            Self::Normal { like, .. } => like,
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
