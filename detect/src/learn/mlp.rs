//! A small network of fully connected layers for two classes, trained with Adam: SAPLMA's 256-128-64 and HaloScope's two layers.
//!
//! Weights start and gradients run as in PyTorch (`Linear`, `ReLU`, `BCEWithLogitsLoss`, `Adam`), in `f64`; after training the weights are rounded to
//! `f32`, in which they are kept.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::logistic::sigmoid;
use super::{FitError, check_classes, packed};

/// A layer: weights `[out, in]` and biases `[out]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PackedDense", into = "PackedDense")]
pub struct Dense {
    /// `[out, in]`.
    pub weight: Array2<f64>,
    /// `[out]`.
    pub bias: Array1<f64>,
}

/// As it stands in a file: weights row by row.
#[derive(Clone, Serialize, Deserialize)]
struct PackedDense {
    inputs: usize,
    #[serde(with = "packed::f32s")]
    weight: Vec<f64>,
    #[serde(with = "packed::f32s")]
    bias: Vec<f64>,
}

/// Layers with rectifiers between them; the last has one output, the log-odds of the positive class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// From input to output.
    pub layers: Vec<Dense>,
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSettings {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Passes over the data.
    pub epochs: usize,
    /// Rows to a step.
    pub batch: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Added to the gradient, times the weights (L2 as in PyTorch's `Adam(weight_decay=…)`).
    pub weight_decay: f64,
    /// Seeds the weights and the order of the rows.
    pub seed: u64,
}

impl Mlp {
    /// Trains on rows of features `[n, D]`.
    ///
    /// # Errors
    /// Unequal lengths, numbers that are not finite, one class only, weights that did not stay finite.
    pub fn train(features: ArrayView2<'_, f64>, positive: &[bool], settings: &MlpSettings) -> Result<Self, FitError> {
        check_classes(features, positive)?;
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut model = Self::new(features.ncols(), &settings.hidden, &mut rng);
        let mut adam = Adam::new(&model, settings);
        let mut order: Vec<usize> = (0..positive.len()).collect();
        for _ in 0..settings.epochs {
            order.shuffle(&mut rng);
            for drawn in order.chunks(settings.batch.max(1)) {
                let targets: Vec<f64> = drawn.iter().map(|&row| f64::from(u8::from(positive[row]))).collect();
                let (_, gradients) = model.gradients(features.select(Axis(0), drawn).view(), &targets);
                adam.step(&mut model, &gradients);
            }
        }
        model.rounded()
    }

    /// Weights and biases uniform in ±1/√inputs.
    fn new(inputs: usize, hidden: &[usize], rng: &mut ChaCha8Rng) -> Self {
        let widths: Vec<usize> = std::iter::once(inputs).chain(hidden.iter().copied()).chain([1]).collect();
        let mut uniform = |bound: f64| (2.0 * rng.random::<f64>() - 1.0) * bound;
        let mut layer = |pair: &[usize]| {
            let bound = 1.0 / (pair[0].max(1) as f64).sqrt();
            let weight = Array2::from_shape_simple_fn((pair[1], pair[0]), || uniform(bound));
            Dense { weight, bias: Array1::from_shape_simple_fn(pair[1], || uniform(bound)) }
        };
        Self { layers: widths.windows(2).map(&mut layer).collect() }
    }

    /// Log-odds of the positive class of every row `[n, D]`.
    pub fn log_odds(&self, features: ArrayView2<'_, f64>) -> Array1<f64> {
        self.activations(features).pop().map_or_else(|| Array1::zeros(0), |last| last.sum_axis(Axis(1)))
    }

    /// The same of one row, which need not be copied into a table; NaN where it has another length than the network takes.
    pub fn log_odds_of(&self, row: &[f64]) -> f64 {
        if row.len() != self.inputs() {
            return f64::NAN;
        }
        let mut values = Array1::from(row.to_vec());
        for (index, layer) in self.layers.iter().enumerate() {
            values = layer.weight.dot(&values) + &layer.bias;
            if index + 1 < self.layers.len() {
                values.mapv_inplace(|x| x.max(0.0));
            }
        }
        values.sum()
    }

    /// How many numbers a row has.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.weight.ncols())
    }

    /// The input, then every layer's output, rectified but for the last.
    fn activations(&self, features: ArrayView2<'_, f64>) -> Vec<Array2<f64>> {
        let mut found = vec![features.to_owned()];
        for (index, layer) in self.layers.iter().enumerate() {
            let out = found[index].dot(&layer.weight.t()) + &layer.bias;
            found.push(if index + 1 < self.layers.len() { out.mapv_into(|x| x.max(0.0)) } else { out });
        }
        found
    }

    /// Mean cross-entropy of a batch, and its derivatives by every weight and bias.
    pub fn gradients(&self, features: ArrayView2<'_, f64>, targets: &[f64]) -> (f64, Vec<Dense>) {
        let activations = self.activations(features);
        let log_odds = activations[self.layers.len()].column(0).to_owned();
        let (n, targets) = (targets.len() as f64, Array1::from(targets.to_vec()));
        let loss = Zip::from(&log_odds).and(&targets).fold(0.0, |sum, &z, t| sum + z.max(0.0) + (-z.abs()).exp().ln_1p() - t * z) / n;
        let mut flowing = ((log_odds.mapv(sigmoid) - targets) / n).insert_axis(Axis(1));
        let mut gradients = Vec::with_capacity(self.layers.len());
        for (layer, input) in self.layers.iter().zip(&activations).rev() {
            gradients.push(Dense { weight: flowing.t().dot(input), bias: flowing.sum_axis(Axis(0)) });
            flowing = flowing.dot(&layer.weight);
            Zip::from(&mut flowing).and(input).for_each(|flow, &x| *flow = if x > 0.0 { *flow } else { 0.0 });
        }
        gradients.reverse();
        (loss, gradients)
    }

    /// The weights as they are kept.
    fn rounded(mut self) -> Result<Self, FitError> {
        for layer in &mut self.layers {
            layer.weight.mapv_inplace(|x| f64::from(x as f32));
            layer.bias.mapv_inplace(|x| f64::from(x as f32));
        }
        let finite = self.layers.iter().all(|layer| layer.weight.iter().chain(&layer.bias).all(|x| x.is_finite()));
        if finite { Ok(self) } else { Err(FitError::NotFinite("the trained network".into())) }
    }
}

/// Adam (Kingma and Ba 2015) with PyTorch's defaults, β = (0.9, 0.999), ε = 1e-8.
#[derive(Debug)]
pub struct Adam {
    learning_rate: f64,
    weight_decay: f64,
    steps: i32,
    moments: Vec<[Dense; 2]>,
}

impl Adam {
    /// Before the first step.
    pub fn new(model: &Mlp, settings: &MlpSettings) -> Self {
        let zeros = |layer: &Dense| Dense { weight: Array2::zeros(layer.weight.dim()), bias: Array1::zeros(layer.bias.dim()) };
        let moments = model.layers.iter().map(|layer| [zeros(layer), zeros(layer)]).collect();
        Self { learning_rate: settings.learning_rate, weight_decay: settings.weight_decay, steps: 0, moments }
    }

    /// Moves the weights once.
    pub fn step(&mut self, model: &mut Mlp, gradients: &[Dense]) {
        self.steps += 1;
        let (rate, decay) = (self.learning_rate / (1.0 - 0.9f64.powi(self.steps)), self.weight_decay);
        let unbias = 1.0 - 0.999f64.powi(self.steps);
        let update = |w: &mut f64, &g: &f64, m: &mut f64, v: &mut f64| {
            let g = g + decay * *w;
            (*m, *v) = (0.9 * *m + 0.1 * g, 0.999 * *v + 0.001 * g * g);
            *w -= rate * *m / ((*v / unbias).sqrt() + 1e-8);
        };
        for ((layer, gradient), [m, v]) in model.layers.iter_mut().zip(gradients).zip(&mut self.moments) {
            Zip::from(&mut layer.weight).and(&gradient.weight).and(&mut m.weight).and(&mut v.weight).for_each(update);
            Zip::from(&mut layer.bias).and(&gradient.bias).and(&mut m.bias).and(&mut v.bias).for_each(update);
        }
    }
}

impl From<Dense> for PackedDense {
    fn from(dense: Dense) -> Self {
        Self { inputs: dense.weight.ncols(), weight: dense.weight.into_iter().collect(), bias: dense.bias.to_vec() }
    }
}

impl TryFrom<PackedDense> for Dense {
    type Error = ndarray::ShapeError;
    fn try_from(packed: PackedDense) -> Result<Self, Self::Error> {
        let weight = Array2::from_shape_vec((packed.bias.len(), packed.inputs), packed.weight)?;
        Ok(Self { weight, bias: packed.bias.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusive_or() -> (Array2<f64>, Vec<bool>) {
        let corner = |i: usize, j: usize| [i & 1, i >> 1 & 1][j] as f64;
        (Array2::from_shape_fn((64, 2), |(i, j)| corner(i, j)), (0..64).map(|i| (i & 1) != (i >> 1 & 1)).collect())
    }

    #[test]
    fn learns_what_no_line_parts() {
        let (x, y) = exclusive_or();
        let settings = MlpSettings { hidden: vec![16], epochs: 200, batch: 8, learning_rate: 0.01, weight_decay: 0.0, seed: 1 };
        let model = Mlp::train(x.view(), &y, &settings).expect("two classes");
        assert!(model.log_odds(x.view()).iter().zip(&y).all(|(&z, &positive)| (z > 2.0) == positive && z.abs() > 2.0));
        assert_eq!(Mlp::train(x.view(), &y, &settings).expect("two classes"), model);
        let one_by_one = x.rows().into_iter().map(|row| model.log_odds_of(&row.to_vec()));
        assert!(one_by_one.zip(model.log_odds(x.view())).all(|(one, all)| (one - all).abs() < 1e-12) && model.log_odds_of(&[1.0]).is_nan());
        assert_ne!(Mlp::train(x.view(), &y, &MlpSettings { seed: 2, ..settings }).expect("two classes"), model);
    }

    #[test]
    fn a_network_comes_back_from_its_file_to_the_bit() {
        let (x, y) = exclusive_or();
        let settings = MlpSettings { hidden: vec![3, 2], epochs: 1, batch: 8, learning_rate: 0.01, weight_decay: 0.0, seed: 1 };
        let model = Mlp::train(x.view(), &y, &settings).expect("two classes");
        let written = serde_json::to_string(&model).expect("plain data");
        assert_eq!(serde_json::from_str::<Mlp>(&written).expect("as written"), model);
        let torn = written.replacen("\"inputs\":2", "\"inputs\":5", 1);
        assert!(serde_json::from_str::<Mlp>(&torn).is_err());
    }
}
