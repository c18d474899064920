//! What a method says about one tensor: which one it is, what it is read from and how it is computed.

use tch::Tensor;

use crate::convert::error::Result;

/// One matrix of one expert of a converted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Index of the layer in the model.
    pub layer: usize,
    /// The routed expert, from 0; 0 for the shared expert, which is asked for by itself.
    pub expert: usize,
    /// Which of its matrices.
    pub projection: Projection,
    /// Full name in the output.
    pub name: String,
    /// Shape in the output.
    pub shape: Vec<i64>,
}

impl Target {
    /// The same matrix of the dense MLP this layer grew from, in the first checkpoint.
    pub fn dense(&self) -> Origin {
        self.dense_of(0)
    }

    /// The same in another checkpoint.
    pub fn dense_of(&self, checkpoint: usize) -> Origin {
        Origin { checkpoint, tensor: format!("model.layers.{}.mlp.{}.weight", self.layer, self.projection.name()) }
    }
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

    /// The dimension along which the `F` hidden units lie: rows of gate and up, columns of down.
    pub fn unit_dim(self) -> i64 {
        if self == Self::Down { 1 } else { 0 }
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
    /// Computed from tensors of its own shape element by element, so that a stretch of each is enough for a stretch of it: an embedding
    /// of any size is made in little memory. The computation gets and gives vectors.
    Elementwise {
        /// The tensors that are read; the first one's element type is kept.
        sources: Vec<Origin>,
        /// The computation, in f32.
        make: Make,
        /// What it does, for the manifest.
        note: String,
    },
}

impl Recipe {
    /// Computed from one source tensor, whose element type it keeps.
    pub fn derived(source: Origin, note: impl Into<String>, make: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        let make = Box::new(move |tensors: &[Tensor]| make(&tensors[0]));
        Self::Made { sources: vec![source.clone()], like: source, make, note: note.into() }
    }

    /// A source tensor times `factor`; a plain copy where that is 1. Powers of two are exact in every element type.
    pub fn scaled(source: Origin, factor: f64) -> Self {
        if factor == 1.0 {
            return Self::Copy(source);
        }
        let make = Box::new(move |tensors: &[Tensor]| Ok(tensors[0].f_mul_scalar(factor)?));
        Self::Elementwise { sources: vec![source], make, note: format!("scaled by {factor}") }
    }

    /// Zeros of the given shape, in the element type of `like`.
    pub fn zeros(like: Origin, shape: &[i64]) -> Self {
        let shape = shape.to_vec();
        let make = move |_: &[Tensor]| Ok(Tensor::f_zeros(&shape[..], (tch::Kind::Float, tch::Device::Cpu))?);
        Self::Made { sources: vec![], like, make: Box::new(make), note: "zeros".into() }
    }

    /// The source tensors whose values go into the result.
    pub fn sources(&self) -> &[Origin] {
        match self {
            Self::Copy(source) => std::slice::from_ref(source),
            Self::Made { sources, .. } | Self::Elementwise { sources, .. } => sources,
        }
    }

    /// The source tensor whose element type the result takes.
    pub fn like(&self) -> &Origin {
        match self {
            Self::Copy(source) => source,
            Self::Made { like, .. } => like,
            Self::Elementwise { sources, .. } => &sources[0],
        }
    }
}
