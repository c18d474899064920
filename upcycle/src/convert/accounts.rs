//! What becomes of every tensor of every source: none may be lost without a word.

use std::collections::BTreeMap;

use coppice_models::Checkpoint;
use coppice_models::tensors::is_buffer;

use super::error::{ConvertError, Result};
use super::manifest::Account;
use super::options::Options;
use super::plan::{Plan, Step};
use super::sources::Sources;
use crate::methods::{Method, Origin, Recipe};

/// The accounts of each source, the model first.
///
/// # Errors
/// [`ConvertError::Unaccounted`] when a tensor goes into nothing and the method does not say why.
pub(crate) fn accounts(plan: &Plan, sources: &Sources, options: &Options, method: &dyn Method) -> Result<Vec<BTreeMap<String, Account>>> {
    let empty = |source: &&Checkpoint| source.names().map(|name| (name.to_owned(), Account::default())).collect();
    let mut all: Vec<BTreeMap<String, Account>> = sources.all().iter().map(empty).collect();
    for step in &plan.steps {
        for origin in step.recipe.sources() {
            if let Some(account) = all.get_mut(origin.checkpoint).and_then(|accounts| accounts.get_mut(&origin.tensor)) {
                account.add(origin, step);
            }
        }
    }
    for (checkpoint, accounts) in all.iter_mut().enumerate() {
        explain(accounts, |tensor| method.drops(&Origin { checkpoint, tensor: tensor.to_owned() }, options));
        require_all(sources.all()[checkpoint], method, accounts)?;
    }
    Ok(all)
}

/// Says of each unused tensor why it is, where there is a reason.
fn explain(accounts: &mut BTreeMap<String, Account>, reason: impl Fn(&str) -> Option<String>) {
    for (name, account) in accounts.iter_mut().filter(|(_, account)| !account.is_used()) {
        account.recomputed = is_buffer(name);
        account.dropped = if account.recomputed { None } else { reason(name) };
    }
}

fn require_all(source: &Checkpoint, method: &dyn Method, accounts: &BTreeMap<String, Account>) -> Result<()> {
    let lost: Vec<&str> = accounts.iter().filter(|(_, account)| **account == Account::default()).map(|(name, _)| name.as_str()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let more = if lost.len() > 4 { format!(" and {} more", lost.len() - 4) } else { String::new() };
    let names = lost.iter().take(4).copied().collect::<Vec<_>>().join(", ") + &more;
    Err(ConvertError::Unaccounted { path: source.folder.clone(), method: method.name(), names })
}

impl Account {
    /// Whether its values are in the result.
    pub fn is_used(&self) -> bool {
        self.kept || !self.copied_to.is_empty() || !self.made_into.is_empty()
    }

    fn add(&mut self, origin: &Origin, step: &Step) {
        let target = &step.header.name;
        match &step.recipe {
            Recipe::Made { note, .. } | Recipe::Elementwise { note, .. } => _ = self.made_into.insert(target.clone(), note.clone()),
            Recipe::Copy(_) if *target == origin.tensor => self.kept = true,
            Recipe::Copy(_) => self.copied_to.push(target.clone()),
        }
    }
}
