//! Running counts of one routed layer, and the shares that follow from them (definitions: OLMoE, arXiv 2409.02060, section 5).
//!
//! Memory of a layer: `N²` pair counts, `N` per domain, and the vocabulary's table.

use coppice_models::Gate;
use tch::{Device, Kind, Tensor};

use super::report::{DomainShare, LayerExperts, Vocabulary, entropy};
use super::vocabulary::Table;
use crate::convert::Result;

// T tokens, N experts, M domains.

/// What one layer did with some tokens.
pub(super) struct Seen<'a> {
    /// 1 where the token (row) is among the expert's (column), `[T, N]`, f32.
    pub(super) chosen: &'a Tensor,
    /// The same of the reference.
    pub(super) reference: Option<&'a Tensor>,
    /// Router logits `[T, N]`, f32.
    pub(super) logits: &'a Tensor,
    /// What went in and what the model predicted, `[T]` each.
    pub(super) ids: [&'a [i64]; 2],
    /// Index of each token's domain, `[T]`, i64; none where the text has no domains.
    pub(super) domains: Option<&'a Tensor>,
}

/// Counts of one layer.
#[derive(Debug)]
pub(super) struct Tally {
    layer: usize,
    tokens: i64,
    /// Tokens that both experts got, `[N, N]`, f64; the diagonal holds each expert's own.
    pairs: Tensor,
    /// Tokens of each domain that each expert got, `[M, N]`, f64.
    domains: Tensor,
    entropy: f64,
    /// Assignments that the reference made too, where there is one.
    kept: Option<f64>,
    input: Table,
    output: Table,
}

impl Tally {
    pub(super) fn new(layer: usize, experts: i64, domains: usize) -> Result<Self> {
        let zeros = |rows: i64| Tensor::f_zeros([rows, experts], (Kind::Double, Device::Cpu));
        let (pairs, domains) = (zeros(experts)?, zeros(domains as i64)?);
        Ok(Self { layer, tokens: 0, pairs, domains, entropy: 0.0, kept: None, input: Table::default(), output: Table::default() })
    }

    /// Adds what was seen; `gate` says what the router's distribution is.
    pub(super) fn add(&mut self, seen: &Seen, gate: Gate) -> Result<()> {
        let chosen = seen.chosen; // counts of one batch are exact in f32
        self.tokens += chosen.size2()?.0;
        self.pairs = self.pairs.f_add(&on_cpu(&chosen.f_tr()?.f_matmul(chosen)?)?)?;
        if let Some(domains) = seen.domains {
            self.domains = self.domains.f_index_add(0, domains, &on_cpu(chosen)?)?;
        }
        self.entropy += router_entropy(seen.logits, gate)?;
        if let Some(reference) = seen.reference {
            *self.kept.get_or_insert(0.0) += f64::try_from(chosen.f_mul(reference)?.f_sum(Kind::Double)?)?;
        }
        self.add_ids(chosen, seen.ids)
    }

    fn add_ids(&mut self, chosen: &Tensor, [input, output]: [&[i64]; 2]) -> Result<()> {
        let routings = Vec::<i64>::try_from(chosen.f_nonzero()?.f_to(Device::Cpu)?.f_flatten(0, -1)?)?; // token, expert, token, …
        for routing in routings.chunks_exact(2) {
            let (token, expert) = (routing[0] as usize, routing[1] as u32);
            self.input.add(input[token] as u32, expert);
            self.output.add(output[token] as u32, expert);
        }
        Ok(())
    }

    /// What the counts say; `domains` are their names and sizes, `text` names an id. Weights are not looked at here.
    pub(super) fn report(&self, domains: &[(String, u64)], text: &dyn Fn(u32) -> String) -> Result<LayerExperts> {
        let pairs = rows(&self.pairs)?;
        let own: Vec<f64> = pairs.iter().enumerate().map(|(expert, row)| row[expert]).collect();
        let total: f64 = own.iter().sum();
        let load: Vec<f64> = own.iter().map(|count| count / total).collect();
        Ok(LayerExperts {
            layer: self.layer,
            load_entropy: entropy(&load),
            load,
            dead: (0..own.len()).filter(|&expert| own[expert] == 0.0).collect(),
            router_entropy: Some(self.entropy / self.tokens as f64),
            saturation: self.kept.map(|kept| kept / total),
            co_activation: pairs.iter().zip(&own).map(|(row, own)| row.iter().map(|both| both / own).collect()).collect(),
            domains: rows(&self.domains)?.iter().zip(domains).map(|(row, domain)| shares(row, domain)).collect(),
            vocabulary: self.vocabulary(own.len(), text),
            ..LayerExperts::default()
        })
    }

    /// None where no id that went in has enough routings.
    fn vocabulary(&self, experts: usize, text: &dyn Fn(u32) -> String) -> Option<Vocabulary> {
        let input = self.input.specialisation()?;
        Some(Vocabulary { input, output: self.output.specialisation().unwrap_or(f64::NAN), top: self.input.top(experts, text) })
    }
}

fn shares(row: &[f64], (domain, tokens): &(String, u64)) -> DomainShare {
    DomainShare { domain: domain.clone(), tokens: *tokens, share: row.iter().map(|count| count / *tokens as f64).collect() }
}

/// Summed entropy in nats of the router's distribution over experts: the softmax of its logits, or their normalised sigmoids.
fn router_entropy(logits: &Tensor, gate: Gate) -> Result<f64> {
    let logits = logits.f_to_kind(Kind::Double)?;
    let logprobs = if gate == Gate::SigmoidTopkRenorm {
        let scores = logits.f_log_sigmoid()?;
        scores.f_sub(&scores.f_logsumexp([-1].as_slice(), true)?)?
    } else {
        logits.f_log_softmax(-1, Kind::Double)?
    };
    Ok(-f64::try_from(logprobs.f_exp()?.f_mul(&logprobs)?.f_sum(Kind::Double)?)?)
}

fn on_cpu(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_to_device_(Device::Cpu, Kind::Double, false, false)?)
}

/// A matrix as rows.
pub(super) fn rows(matrix: &Tensor) -> Result<Vec<Vec<f64>>> {
    let (count, width) = matrix.size2()?;
    let flat = Vec::<f64>::try_from(matrix.f_contiguous()?.f_flatten(0, -1)?)?;
    Ok((0..count as usize).map(|row| flat[row * width as usize..(row + 1) * width as usize].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four tokens, three experts, two for each token; the last expert gets none.
    fn seen(tally: &mut Tally) {
        let chosen = Tensor::from_slice(&[1.0_f32, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]).view([4, 3]);
        let other = Tensor::from_slice(&[1.0_f32, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]).view([4, 3]);
        let logits = Tensor::zeros([4, 3], (Kind::Float, Device::Cpu));
        let domains = Tensor::from_slice(&[0_i64, 0, 1, 1]);
        let seen = Seen { chosen: &chosen, reference: Some(&other), logits: &logits, ids: [&[7; 4], &[8; 4]], domains: Some(&domains) };
        tally.add(&seen, Gate::TopkSoftmax).unwrap();
    }

    #[test]
    fn shares_follow_from_counts_by_hand() {
        let mut tally = Tally::new(3, 3, 2).unwrap();
        seen(&mut tally);
        seen(&mut tally);
        let report = tally.report(&[("law".into(), 4), ("code".into(), 4)], &|id| format!("{id}")).unwrap();
        assert_eq!((report.layer, &report.load, &report.dead), (3, &vec![4.0 / 7.0, 3.0 / 7.0, 0.0], &vec![2]));
        let load_entropy = -(4.0 / 7.0 * f64::ln(4.0 / 7.0) + 3.0 / 7.0 * f64::ln(3.0 / 7.0));
        assert!((report.load_entropy - load_entropy).abs() < 1e-15);
        assert!((report.router_entropy.unwrap() - 3_f64.ln()).abs() < 1e-12);
        assert_eq!(report.saturation, Some(5.0 / 7.0));
        assert_eq!(report.co_activation[0], [1.0, 0.75, 0.0]);
        assert_eq!(report.co_activation[1], [1.0, 1.0, 0.0]);
        assert!(report.co_activation[2].iter().all(|share| share.is_nan()));
        assert_eq!((&report.domains[0].share, &report.domains[1].share), (&vec![1.0, 1.0, 0.0], &vec![1.0, 0.5, 0.0]));
        let vocabulary = report.vocabulary.unwrap();
        assert_eq!((vocabulary.input, vocabulary.output), (8.0 / 14.0, 8.0 / 14.0));
        assert_eq!((vocabulary.top[1][0].token.as_str(), vocabulary.top[1][0].count), ("7", 14));
    }

    #[test]
    fn a_sigmoid_routers_entropy_is_that_of_its_normalised_scores() {
        let z = [2.0_f64, -1.0, 0.5];
        let scores: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
        let wanted = entropy(&scores.iter().map(|s| s / scores.iter().sum::<f64>()).collect::<Vec<_>>());
        let found = router_entropy(&Tensor::from_slice(&z).view([1, 3]), Gate::SigmoidTopkRenorm).unwrap();
        assert!((found - wanted).abs() < 1e-12);
    }
}
