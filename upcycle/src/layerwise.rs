//! A model run layer by layer from its mapped file: its residual streams, and its tensors fetched when needed. One layer is in memory.

use coppice_models::init::{Source, Stored};
use coppice_models::model::{LayerNorm, Linear, Memory, Mlp, Pass};
use coppice_models::rotary::Rotary;
use coppice_models::tensors::layer_tensors;
use coppice_models::{Checkpoint, Config, model};
use tch::{Device, Kind, Tensor};

use crate::convert::Result;

// T tokens of all sequences, S of one, D hidden, F MLP width, V vocabulary.

/// A model run from its checkpoint, one part at a time.
pub(crate) struct Layerwise<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    /// The configuration without experts: what everything but the MLPs is built by.
    trunk: Config,
    rotary: Rotary,
    /// The residual stream of every sequence, `[1, S, D]`.
    streams: Vec<Tensor>,
}

impl<'a> Layerwise<'a> {
    /// Embeds the sequences.
    pub(crate) fn new(checkpoint: &'a Checkpoint, sequences: &[Vec<i64>]) -> Result<Self> {
        let trunk = Config { moe: None, ..checkpoint.config.clone() };
        let rotary = Rotary::new(&trunk, Device::Cpu)?;
        let name = "model.embed_tokens.weight";
        // SAFETY: the rows that are read are copied while the checkpoint is borrowed.
        let table = unsafe { checkpoint.view(name)? }; // [V, D]
        let embed = |tokens: &Vec<i64>| -> Result<Tensor> {
            Ok(table.f_index_select(0, &Tensor::f_from_slice(tokens)?)?.f_to_kind(Kind::Float)?.f_unsqueeze(0)?)
        };
        let streams = sequences.iter().map(embed).collect::<Result<_>>()?;
        checkpoint.release(name)?;
        Ok(Self { checkpoint, trunk, rotary, streams })
    }

    /// Runs the attention half of layer `index` on every stream; returns the MLP's input for all tokens, `[T, D]`.
    pub(crate) fn attend(&mut self, index: usize) -> Result<Tensor> {
        let layer = model::Layer::new(&WithoutMlp(self.stored()), &self.trunk, index)?;
        let mut inputs = Vec::with_capacity(self.streams.len());
        for x in &mut self.streams {
            let angles = self.rotary.first(x.size()[1])?;
            let mut pass = Pass { angles, memory: Memory::None, packing: None, routings: None, training: None, states: None };
            let (attended, input) = layer.attend(x, &mut pass)?;
            *x = attended;
            inputs.push(input.f_squeeze_dim(0)?);
        }
        Ok(Tensor::f_cat(&inputs, 0)?)
    }

    /// Adds the MLP's output `[T, D]` to the streams.
    pub(crate) fn add(&mut self, y: &Tensor) -> Result<()> {
        let mut start = 0;
        for x in &mut self.streams {
            let length = x.size()[1];
            *x = x.f_add(&y.f_narrow(0, start, length)?)?;
            start += length;
        }
        Ok(())
    }

    /// The streams of all tokens, `[T, D]`.
    pub(crate) fn stream(&self) -> Result<Tensor> {
        Ok(Tensor::f_cat(&self.streams, 1)?.f_squeeze_dim(0)?)
    }

    /// The streams after the final norm, `[T, D]`.
    pub(crate) fn normed(&self) -> Result<Tensor> {
        Ok(LayerNorm::new(&self.stored(), "model.norm", &self.trunk)?.forward(&self.stream()?)?)
    }

    /// The gated MLP under `prefix`, in f32.
    pub(crate) fn mlp(&self, prefix: &str) -> Result<Mlp> {
        let linear = |name: &str| -> Result<Linear> { Ok(Linear { weight: self.tensor(&format!("{prefix}.{name}.weight"))?, bias: None }) };
        Ok(Mlp { gate_proj: linear("gate_proj")?, up_proj: linear("up_proj")?, down_proj: linear("down_proj")? })
    }

    /// A tensor in f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.stored().tensor(name, &[])?)
    }

    /// Gives the mapped pages of layer `index` back.
    pub(crate) fn release_layer(&self, index: usize) -> Result<()> {
        let specs = layer_tensors(&self.checkpoint.config, index);
        let held = specs.iter().filter(|spec| self.checkpoint.entry(&spec.name).is_some());
        Ok(held.into_iter().try_for_each(|spec| self.checkpoint.release(&spec.name))?)
    }

    /// Gives the mapped pages of the MLP under `prefix` back.
    pub(crate) fn release_mlp(&self, prefix: &str) -> Result<()> {
        let names = ["gate_proj", "up_proj", "down_proj"];
        Ok(names.iter().try_for_each(|name| self.checkpoint.release(&format!("{prefix}.{name}.weight")))?)
    }

    /// The checkpoint as a source of tensors in f32.
    pub(crate) fn stored(&self) -> Stored<'a> {
        Stored { checkpoint: self.checkpoint, kind: Kind::Float, device: Device::Cpu, owned: false }
    }
}

/// Runs a dense model over the sequences up to the last of `layers`, ascending; for each of them `see` is given the residual stream
/// before the layer and the input of its MLP, `[T, D]` each.
///
/// # Errors
/// When a tensor cannot be read, and what `see` returns.
pub(crate) fn walk(
    checkpoint: &Checkpoint,
    sequences: &[Vec<i64>],
    layers: &[usize],
    mut see: impl FnMut(&Tensor, &Tensor) -> Result<()>,
) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let mut run = Layerwise::new(checkpoint, sequences)?;
    for index in 0..=layers.last().copied().unwrap_or_default() {
        let before = run.stream()?;
        let input = run.attend(index)?;
        if layers.contains(&index) {
            see(&before, &input)?;
        }
        run.add(&run.mlp(&format!("model.layers.{index}.mlp"))?.forward(&input)?)?;
        run.release_layer(index)?;
    }
    Ok(())
}

/// Hands out a layer with an empty MLP, whether the file's is dense or routed: experts are fetched one by one.
struct WithoutMlp<'a>(Stored<'a>);

impl Source for WithoutMlp<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        if name.contains(".mlp.") {
            return Ok(Tensor::f_empty([0], (Kind::Float, Device::Cpu))?);
        }
        self.0.tensor(name, shape)
    }

    fn optional(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        self.0.optional(name, shape)
    }
}
