//! Methods side by side: which arms ran on which data sets, and what stands in each cell, for page, Markdown and picture.

use crate::data::{MethodResult, MethodSeed, Report, Role, Spread};
use crate::units::{self, GAP, count, fixed, percent, si, signed};

/// The arms of a report's methods by data set, both in the order they appear.
pub(crate) struct Methods<'r> {
    /// Names of the data sets.
    pub(crate) datasets: Vec<&'r str>,
    /// The arms.
    pub(crate) arms: Vec<MethodArm<'r>>,
}

/// One arm: its result on each data set of [`Methods::datasets`].
pub(crate) struct MethodArm<'r> {
    /// One entry per data set, at least one of them there.
    pub(crate) results: Vec<Option<&'r MethodResult>>,
}

/// What a column of a data set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Loss before training, upcycled minus dense.
    Jump,
    /// Loss after training.
    Loss,
    /// Mean loss after training, minus the control's.
    Difference,
    /// Share of questions answered correctly.
    Facts,
    /// Load entropy as a share of ln N.
    Entropy,
    /// Experts without a token.
    Dead,
    /// Tokens of its training beyond the shared pre-training.
    Tokens,
}

/// What stands in a cell: the mean, what it is sorted by, and the range over seeds.
pub(crate) struct Value {
    /// The mean over seeds, or a word.
    pub(crate) text: String,
    /// The mean.
    pub(crate) key: Option<f64>,
    /// The range, where there are several seeds.
    pub(crate) range: Option<String>,
}

impl<'r> Methods<'r> {
    /// Groups a report's methods.
    pub(crate) fn of(report: &'r Report) -> Self {
        let datasets = distinct(report.methods.iter().map(|result| result.dataset.as_str()));
        let names = distinct(report.methods.iter().map(|result| result.arm.as_str()));
        let find = |arm: &str, dataset: &&str| report.methods.iter().find(|r| r.arm == arm && r.dataset == **dataset);
        let arm = |name: &&str| MethodArm { results: datasets.iter().map(|dataset| find(name, dataset)).collect() };
        Self { arms: names.iter().map(arm).collect(), datasets }
    }

    /// The control on a data set; the first where there are several.
    pub(crate) fn control(&self, dataset: usize) -> Option<&'r MethodResult> {
        self.results(dataset).find(|result| result.role == Role::Control)
    }

    /// What was measured on a data set, in table order: facts only where some arm has them.
    pub(crate) fn quantities(&self, dataset: usize) -> Vec<Quantity> {
        let facts = self.results(dataset).any(|result| result.spread(|seed| Quantity::Facts.of(seed)).is_some());
        Quantity::ALL.into_iter().filter(|quantity| facts || *quantity != Quantity::Facts).collect()
    }

    /// Mean final loss of a result minus the control's on the same data set; `None` where either is missing.
    pub(crate) fn difference(&self, dataset: usize, result: &MethodResult) -> Option<f64> {
        let loss = |result: &MethodResult| Some(result.spread(|seed| seed.final_loss)?.mean);
        Some(loss(result)? - loss(self.control(dataset)?)?)
    }

    /// What stands in a cell.
    pub(crate) fn value(&self, dataset: usize, arm: &MethodArm<'_>, quantity: Quantity) -> Value {
        let Some(result) = arm.results.get(dataset).copied().flatten() else { return Value::missing() };
        match quantity {
            Quantity::Difference if result.role == Role::Control => Value::missing(),
            Quantity::Difference => Value::alone(quantity, self.difference(dataset, result)),
            Quantity::Jump if result.is_exact() => Value { text: "exact".to_owned(), key: Some(0.0), range: None },
            _ => result.spread(|seed| quantity.of(seed)).map_or_else(Value::missing, |spread| Value::spread(quantity, spread)),
        }
    }

    fn results(&self, dataset: usize) -> impl Iterator<Item = &'r MethodResult> + '_ {
        self.arms.iter().filter_map(move |arm| arm.results.get(dataset).copied().flatten())
    }
}

impl<'r> MethodArm<'r> {
    /// The results there are.
    pub(crate) fn known(&self) -> impl Iterator<Item = &'r MethodResult> + '_ {
        self.results.iter().copied().flatten()
    }

    /// The name to show.
    pub(crate) fn shown(&self) -> &'r str {
        self.known().next().map_or("", MethodResult::shown)
    }

    /// What part the arm plays.
    pub(crate) fn role(&self) -> Role {
        self.known().next().map_or_else(Role::default, |result| result.role)
    }

    /// A cost with the data set it was first found on, each value once: models for different data sets may differ in size.
    pub(crate) fn cost<T: PartialEq + Copy>(&self, of: impl Fn(&MethodResult) -> Option<T>) -> Vec<(&'r str, T)> {
        let mut costs: Vec<(&str, T)> = Vec::new();
        for (dataset, cost) in self.known().filter_map(|result| Some((result.dataset.as_str(), of(result)?))) {
            if costs.iter().all(|(_, seen)| *seen != cost) {
                costs.push((dataset, cost));
            }
        }
        costs
    }
}

impl Quantity {
    /// Every quantity, in the order tables show them.
    pub(crate) const ALL: [Self; 7] = [Self::Jump, Self::Loss, Self::Difference, Self::Facts, Self::Entropy, Self::Dead, Self::Tokens];

    /// The column's head and what it means.
    pub(crate) const fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Jump => ("step-0 jump", "loss before training, upcycled minus dense, nats per token; mean over seeds (range)"),
            Self::Loss => ("final loss", "nats per token on held-out text, mean over seeds (range)"),
            Self::Difference => ("to control", "mean final loss minus the control's, nats per token; below zero is better"),
            Self::Facts => ("facts known", "mean over seeds (range)"),
            Self::Entropy => ("load entropy", "share of ln N, mean over routed layers and seeds (range); 100 % = even"),
            Self::Tokens => ("trained on", "tokens after the shared pre-training; from scratch: all of them"),
            Self::Dead => ("dead experts", "without a token, over all routed layers; mean over seeds (range)"),
        }
    }

    /// What the seed has of it.
    fn of(self, seed: &MethodSeed) -> Option<f64> {
        match self {
            Self::Jump => seed.step0_jump,
            Self::Loss | Self::Difference => seed.final_loss,
            Self::Facts => seed.facts_known,
            Self::Entropy => seed.load_entropy,
            Self::Dead => seed.dead_experts.map(|dead| dead as f64),
            Self::Tokens => seed.tokens.map(|tokens| tokens as f64),
        }
    }

    /// The number with as many digits as it deserves.
    fn text(self, value: f64) -> String {
        match self {
            Self::Jump if value.abs() < 0.1 => signed(fixed(Some(value), 4)),
            Self::Jump => signed(fixed(Some(value), 2)),
            Self::Difference => signed(fixed(Some(value), 3)),
            Self::Loss => fixed(Some(value), 3),
            Self::Facts | Self::Entropy => percent(Some(value)),
            Self::Dead if value.fract() == 0.0 => count(Some(value as u64)),
            Self::Dead => fixed(Some(value), 1),
            Self::Tokens => si(Some(value)),
        }
    }
}

impl Value {
    fn missing() -> Self {
        Self { text: units::MISSING.to_owned(), key: None, range: None }
    }

    fn alone(quantity: Quantity, value: Option<f64>) -> Self {
        value.map_or_else(Self::missing, |v| Self { text: quantity.text(v), key: Some(v), range: None })
    }

    fn spread(quantity: Quantity, spread: Spread) -> Self {
        let [low, high] = [spread.low, spread.high].map(|v| quantity.text(v));
        let range = (spread.seeds > 1 && low != high).then(|| format!("{} to {high}", low.trim_end_matches([GAP, '%'])));
        Self { range, ..Self::alone(quantity, Some(spread.mean)) }
    }
}

/// Names in the order of their first appearance, each once.
pub(crate) fn distinct<'r>(names: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(arm: &str, role: Role, dataset: &str, losses: &[f64]) -> MethodResult {
        let seed = |loss: &f64| MethodSeed { final_loss: Some(*loss), step0_exact: Some(true), ..MethodSeed::default() };
        MethodResult { arm: arm.into(), role, dataset: dataset.into(), seeds: losses.iter().map(seed).collect(), ..MethodResult::default() }
    }

    #[test]
    fn differences_are_of_means_on_the_same_data_set() {
        let methods = vec![
            result("control", Role::Control, "world", &[2.0, 3.0]),
            result("copy", Role::Upcycled, "text", &[4.0]),
            result("copy", Role::Upcycled, "world", &[2.0, 2.25, f64::NAN]),
        ];
        let report = Report { methods, ..Report::default() };
        let methods = Methods::of(&report);
        assert_eq!(methods.datasets, ["world", "text"]);
        let text = |dataset, quantity| methods.value(dataset, &methods.arms[1], quantity).text;
        assert_eq!(text(0, Quantity::Difference), "−0.375");
        assert_eq!(text(1, Quantity::Difference), units::MISSING);
        assert_eq!(text(0, Quantity::Jump), "exact");
        assert_eq!(text(0, Quantity::Dead), units::MISSING);
        assert_eq!(methods.value(0, &methods.arms[0], Quantity::Difference).text, units::MISSING);
        assert_eq!(methods.value(0, &methods.arms[0], Quantity::Loss).range.as_deref(), Some("2.000 to 3.000"));
    }
}
