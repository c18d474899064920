//! Where the first rows of the routers come from. They are computed before anything is written, so that what cannot be computed leaves
//! nothing behind.
//!
//! An initialisation is one file here, one line in [`ALL`] and one name in `RouterInit`. Those made from data run the dense model layer
//! by layer from its mapped file, with one layer in memory; their rows have length 1 times `router_scale`. A method whose experts share
//! rows in runs of `G` (virtual groups) asks for `N / G` rows.

mod cheap_embed;
mod hidden;
mod hidden_avg;
mod kmeans;
mod normal;
mod orthogonal;
mod prompts;
mod zero;

use std::collections::BTreeMap;

use coppice_models::Checkpoint;
use tch::{Kind, Tensor};

use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit};
use crate::methods::{Method, Origin, Recipe};

// D hidden, N experts.

/// Every initialisation, in the order they are listed.
pub const ALL: &[&dyn Init] = &[
    &normal::Normal,
    &orthogonal::Orthogonal,
    &zero::Zero,
    &hidden::Hidden,
    &hidden_avg::HiddenAvg,
    &cheap_embed::CheapEmbed,
    &kmeans::Kmeans,
];

/// Largest condition number of a router's rows that goes without a note (mergekit's `warn_degenerate_gates`).
const WELL_CONDITIONED: f64 = 5.0;
/// Least length that rows are divided by (mergekit).
const LEAST_LENGTH: f64 = 1e-8;

/// What rows are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The dense model.
    pub model: &'a Checkpoint,
    /// Prompts, sample, deviation, scale and seed.
    pub options: &'a Options,
    /// The converted layers, ascending.
    pub layers: &'a [usize],
    /// Rows of each router.
    pub rows: i64,
}

/// A way of making the first rows of routers.
pub trait Init: Sync {
    /// The name on the command line.
    fn init(&self) -> RouterInit;

    /// One line for lists.
    fn summary(&self) -> &'static str;

    /// How rows are made, for the manifest.
    fn note(&self, options: &Options) -> String;

    /// The options of its own, as they are named on the command line.
    fn flags(&self) -> &'static [&'static str];

    /// Whether rows are made from data, so that they may turn out alike.
    fn reads_data(&self) -> bool {
        false
    }

    /// Refuses a request without the data it takes.
    ///
    /// # Errors
    /// One sentence.
    fn check(&self, _request: &Request) -> Result<()> {
        Ok(())
    }

    /// The rows of each layer asked for, `[rows, D]` in f32.
    ///
    /// # Errors
    /// When the model cannot be run.
    fn rows(&self, request: &Request) -> Result<Vec<Tensor>>;
}

/// The initialisation called `init`.
pub fn find(init: RouterInit) -> &'static dyn Init {
    ALL.iter().copied().find(|known| known.init() == init).unwrap_or(&normal::Normal)
}

/// The rows of all routers of a conversion.
pub(crate) struct RouterRows {
    layers: BTreeMap<usize, LayerRows>,
    repeat: i64,
}

struct LayerRows {
    values: Vec<f32>,
    note: String,
}

/// Computes the rows of all converted layers.
///
/// # Errors
/// One sentence for prompts or a sample that are absent, too few or unusable, and for a model that computes NaN.
pub(crate) fn rows(model: &Checkpoint, options: &Options, method: &dyn Method, layers: &[usize]) -> Result<RouterRows> {
    let (init, repeat) = (find(options.router_init), method.router_repeat(options));
    let request = Request { model, options, layers, rows: options.experts / repeat };
    init.check(&request)?;
    let rows = layers.iter().copied().zip(init.rows(&request)?).map(|(layer, rows)| Ok((layer, finished(init, options, layer, &rows)?)));
    Ok(RouterRows { layers: rows.collect::<Result<_>>()?, repeat })
}

fn finished(init: &dyn Init, options: &Options, layer: usize, rows: &Tensor) -> Result<LayerRows> {
    let values = Vec::try_from(rows.f_flatten(0, -1)?)?;
    let finite = values.iter().all(|value: &f32| value.is_finite());
    let name = init.init().name();
    let sick = || coppice_models::Error::NonFinite(format!("router init {name}: the model computed NaN or infinity in layer {layer}"));
    if !finite {
        return Err(sick().into());
    }
    let warning = if init.reads_data() { degenerate(rows)? } else { String::new() };
    Ok(LayerRows { values, note: format!("{}{warning}", init.note(options)) })
}

/// Says so where rows nearly depend on each other.
fn degenerate(rows: &Tensor) -> Result<String> {
    let condition = f64::try_from(rows.f_to_kind(Kind::Double)?.f_linalg_cond(2)?)?;
    let told = |number: String| format!("; condition number {number} is above {WELL_CONDITIONED}: experts are told apart badly");
    Ok(if condition <= WELL_CONDITIONED { String::new() } else { told(format!("{condition:.1}")) })
}

/// Rows `[rows, D]` of length `scale`; rows of zeros stay so.
fn unit_rows(rows: &Tensor, scale: f64) -> Result<Tensor> {
    let lengths = rows.f_square()?.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float)?.f_sqrt()?;
    Ok(rows.f_div(&lengths.f_clamp_min(LEAST_LENGTH)?)?.f_mul_scalar(scale)?)
}

impl RouterRows {
    /// The router `[N, D]` of a converted layer, each row as often as experts share it.
    pub(crate) fn recipe(&self, layer: usize, like: Origin, shape: &[i64]) -> Recipe {
        let (shape, repeat) = (shape.to_vec(), self.repeat);
        let (values, note) = self.layers.get(&layer).map_or_else(Default::default, |rows| (rows.values.clone(), rows.note.clone()));
        let make = move |_: &[Tensor]| {
            let rows = Tensor::f_from_slice(&values)?.f_view([-1, shape[1]])?;
            Ok(rows.f_repeat_interleave_self_int(repeat, 0, None)?)
        };
        let repeated = if repeat == 1 { String::new() } else { format!(", each row {repeat} times") };
        Recipe::Made { sources: vec![], like, make: Box::new(make), note: format!("{note}{repeated}") }
    }
}

/// The name of a layer's router, which draws are seeded by.
fn router_name(layer: usize) -> String {
    format!("model.layers.{layer}.mlp.gate.weight")
}
