//! Rows as centres of clusters of what each router will see: the MLP's inputs on a sample of text.
//!
//! Spherical k-means (Dhillon and Modha 2001): points and centres have length 1, a point belongs to the centre of largest cosine, which
//! is how a router of such rows chooses. Started as k-means++ (Arthur and Vassilvitskii 2007).

use coppice_models::init::{stream, unit};
use coppice_models::score::check_tokens;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::{Init, Request, router_name, unit_rows};
use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit, require};
use crate::layerwise::walk;

// T tokens, D hidden, C clusters.

/// Rounds after which clusters are taken as they are.
const ROUNDS: usize = 100;

/// See the module.
#[derive(Debug)]
pub(super) struct Kmeans;

impl Init for Kmeans {
    fn init(&self) -> RouterInit {
        RouterInit::Kmeans
    }

    fn summary(&self) -> &'static str {
        "centres of clusters of each MLP's inputs on a sample of text (spherical k-means)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["router-text", "router-text-tokens", "router-scale"]
    }

    fn note(&self, options: &Options) -> String {
        format!("centres of clusters of {} tokens", options.router_sample.iter().map(Vec::len).sum::<usize>())
    }

    fn reads_data(&self) -> bool {
        true
    }

    fn check(&self, request: &Request) -> Result<()> {
        let (sample, rows) = (&request.options.router_sample, request.rows);
        let tokens: usize = sample.iter().map(Vec::len).sum();
        require(tokens > 0, || "router init kmeans makes rows from a sample of text and none is given".into())?;
        require(tokens as i64 >= rows, || format!("the sample of router init kmeans has {tokens} tokens, fewer than the {rows} rows"))?;
        Ok(sample.iter().try_for_each(|tokens| check_tokens(&request.model.config, tokens))?)
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        let mut inputs = request.layers.iter();
        let mut rows = Vec::new();
        walk(request.model, &request.options.router_sample, request.layers, |_, input| {
            let layer = inputs.next().copied().unwrap_or_default();
            let mut rng = stream(request.options.seed, &format!("{} kmeans", router_name(layer)));
            let centres = cluster(&unit_rows(input, 1.0)?, request.rows, &mut rng)?;
            rows.push(centres.f_mul_scalar(request.options.router_scale)?);
            Ok(())
        })?;
        Ok(rows)
    }
}

/// Centres `[C, D]` of length 1 of `count` clusters of `points [T, D]`.
fn cluster(points: &Tensor, count: i64, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let mut centres = start(points, count, rng)?;
    let mut before = Vec::new();
    for _ in 0..ROUNDS {
        let (nearness, chosen) = points.f_matmul(&centres.f_transpose(0, 1)?)?.f_max_dim(1, false)?; // [T] each
        let now: Vec<i64> = Vec::try_from(&chosen)?;
        if now == before {
            break;
        }
        centres = unit_rows(&sums(points, &chosen, &nearness, &now, count)?, 1.0)?;
        before = now;
    }
    Ok(centres)
}

/// The sum of each cluster's points, `[C, D]`; one without points gets the point farthest from its centre, the next one the next.
fn sums(points: &Tensor, chosen: &Tensor, nearness: &Tensor, assigned: &[i64], count: i64) -> Result<Tensor> {
    let mut sums = Tensor::f_zeros([count, points.size()[1]], (Kind::Float, Device::Cpu))?.f_index_add(0, chosen, points)?;
    let empty: Vec<i64> = (0..count).filter(|cluster| !assigned.contains(cluster)).collect();
    let far = nearness.f_argsort_stable(true, 0, false)?.f_narrow(0, 0, empty.len() as i64)?;
    let _ = sums.f_index_copy_(0, &Tensor::f_from_slice(&empty)?, &points.f_index_select(0, &far)?)?;
    Ok(sums)
}

/// Points to start from, each the best of a few drawn with a probability proportional to its squared distance from those before
/// (greedy k-means++, as scikit-learn has it).
fn start(points: &Tensor, count: i64, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let tokens = points.size()[0];
    let trials = 2 + (count as f64).ln() as usize;
    let mut picked = vec![uniform(tokens, rng)];
    let mut distances = nearer(points, picked[0], &vec![f64::INFINITY; tokens as usize])?;
    while (picked.len() as i64) < count {
        let drawn = (0..trials).map(|_| proportional(&distances, rng).unwrap_or_else(|| uniform(tokens, rng))).collect::<Vec<_>>();
        let tried = drawn.into_iter().map(|point| Ok((point, nearer(points, point, &distances)?))).collect::<Result<Vec<_>>>()?;
        let total = |tried: &(i64, Vec<f64>)| tried.1.iter().sum::<f64>();
        let best = tried.into_iter().min_by(|a, b| total(a).total_cmp(&total(b)));
        if let Some((point, left)) = best {
            picked.push(point);
            distances = left;
        }
    }
    Ok(points.f_index_select(0, &Tensor::f_from_slice(&picked)?)?)
}

/// Half of every point's squared distance from the nearest picked one, `point` among them.
fn nearer(points: &Tensor, point: i64, before: &[f64]) -> Result<Vec<f64>> {
    let nearness: Vec<f64> = Vec::try_from(points.f_mv(&points.f_get(point)?)?.f_to_kind(Kind::Double)?)?;
    Ok(before.iter().zip(nearness).map(|(before, nearness)| before.min((1.0 - nearness).max(0.0))).collect())
}

fn uniform(count: i64, rng: &mut ChaCha8Rng) -> i64 {
    (((1.0 - unit(rng)) * count as f64) as i64).min(count - 1)
}

/// An index drawn by weight; none where all weights are zero.
fn proportional(weights: &[f64], rng: &mut ChaCha8Rng) -> Option<i64> {
    let mut left = unit(rng) * weights.iter().sum::<f64>();
    let heavy = |index: &usize| weights[*index] > 0.0;
    let last = (0..weights.len()).rev().find(heavy)?;
    let met = (0..weights.len()).filter(heavy).find(|&index| {
        left -= weights[index];
        left <= 0.0
    });
    Some(met.unwrap_or(last) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coppice_models::init::normal;

    #[test]
    fn planted_clusters_are_found() {
        // Four axes of twelve dimensions, twenty points around each.
        let noise = Tensor::from_slice(&normal(3, "noise", 80 * 12, 0.1)).view([80, 12]);
        let axes = Tensor::eye(12, (Kind::Float, Device::Cpu)).narrow(0, 0, 4);
        let points = unit_rows(&(axes.repeat_interleave_self_int(20, 0, None) + noise), 1.0).unwrap();
        for seed in 0..10 {
            let centres = cluster(&points, 4, &mut stream(seed, "test")).unwrap();
            let nearest = axes.matmul(&centres.transpose(0, 1)).max_dim(1, false);
            assert!(nearest.0.min().double_value(&[]) > 0.99, "seed {seed}");
            let mut found: Vec<i64> = Vec::try_from(nearest.1).unwrap();
            found.sort_unstable();
            assert_eq!(found, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn fewer_places_than_clusters_still_give_rows_of_length_one() {
        let points = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 1.0, 0.0, 1.0]).view([3, 2]);
        let centres = cluster(&points, 3, &mut stream(0, "test")).unwrap();
        assert!(((centres.square().sum_dim_intlist([1].as_slice(), false, Kind::Float) - 1.0).abs().max()).double_value(&[]) < 1e-6);
    }
}
