//! Any command, run under every meter of the machine: a training run, most of all.

use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::EnergyArgs;
use super::told::Power;
use crate::common::Outcome;
use crate::energy::{Conditions, Footprint, all, meter_while};

impl EnergyArgs {
    pub(super) fn program(&self, conditions: &Conditions) -> Result<Outcome> {
        let (meters, reasons) = if self.watts.is_some() { (Vec::new(), Vec::new()) } else { all() };
        if meters.is_empty() && self.watts.is_none() {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            bail!("no meter shows this machine's power ({}); give that of a device with --watts W", reasons.join("; "));
        }
        let begin = Instant::now();
        let measured = !meters.is_empty();
        let (status, metered) = meter_while(meters, || self.start())?;
        let (power, watts, devices) = match self.watts {
            Some(watts) => (Power::given(watts), watts, f64::from(self.devices)),
            None => (Power::measured(&metered), metered.watts(), 1.0),
        };
        let seconds = if measured { metered.seconds } else { begin.elapsed().as_secs_f64() };
        let footprint = Footprint::new(seconds / 3600.0 * devices, watts, conditions)?;
        let line = format!("{} took {seconds:.1} s and ended with {status}", self.command.join(" "));
        let work = json!({ "command": self.command, "seconds": seconds, "exit_code": status.code() });
        self.tell(&footprint, &power, conditions, work, vec![line])?;
        Ok(if status.success() { Outcome::Done } else { Outcome::No })
    }

    /// Runs the command to its end; what it prints goes to stderr, so that stdout holds the result alone.
    fn start(&self) -> Result<ExitStatus> {
        let Some((program, arguments)) = self.command.split_first() else { bail!("no command stands after --") };
        let mut command = Command::new(program);
        command.args(arguments).stdout(std::io::stderr());
        command.status().with_context(|| format!("cannot start {program}"))
    }
}
