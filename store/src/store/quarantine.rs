//! What becomes of quarantined rows: released in time, expired, or as an operator says.

use std::collections::HashMap;

use wire::{DeviceName, Timestamp};

use super::{Store, Writer, read};
use crate::error::CommitError;
use crate::heads::Gate;
use crate::plan::{Dictionaries, Plan, Removal, release, remove};
use crate::quarantine::Held;

/// Rows of the table that one transaction takes out at most.
const AT_ONCE: usize = 256;

impl Store {
    /// Releases rows whose time has come, and lets those expire that are still ahead after `quarantine_time`. Says how many
    /// rows of the table were taken out.
    pub(crate) fn settle_quarantine(&self, now: Timestamp) -> Result<usize, CommitError> {
        let due = now.plus(self.config.future_limit);
        let expired = now.minus(self.config.quarantine_time);
        let mut all = 0;
        loop {
            let mut writer = self.writer();
            let gate = self.heads.gate();
            let held = read(&self.quarantine).due(due, expired, AT_ONCE);
            let out = self.release((&mut writer, gate), &held, due, now)?;
            all += out;
            if out < AT_ONCE {
                return Ok(all);
            }
        }
    }

    /// Puts a device's quarantined rows into the heads, whatever their times. Says how many batches' there were.
    pub fn release_quarantined(&self, device: &DeviceName, now: Timestamp) -> Result<usize, CommitError> {
        let mut writer = self.writer();
        let gate = self.heads.gate();
        let held = read(&self.quarantine).of(device);
        self.release((&mut writer, gate), &held, Timestamp::from_ms(i64::MAX), now)
    }

    /// Drops a device's quarantined rows; they count as removed, `deleted`. Says how many batches' there were.
    pub fn drop_quarantined(&self, device: &DeviceName, now: Timestamp) -> Result<usize, CommitError> {
        let mut writer = self.writer();
        let held = read(&self.quarantine).of(device);
        let mut plan = Plan::default();
        for (number, held) in &held {
            remove(&mut plan, *number, held, Removal::Deleted, now);
        }
        self.carry_out(&mut writer, &mut plan, &HashMap::new(), self.heads.gate())?;
        Ok(held.len())
    }

    fn release(
        &self,
        (writer, gate): (&mut Writer, Gate<'_>),
        held: &[(u64, Held)],
        due: Timestamp,
        now: Timestamp,
    ) -> Result<usize, CommitError> {
        let expired = now.minus(self.config.quarantine_time);
        let mut plan = Plan::default();
        let mut dicts = Dictionaries::new();
        for (number, held) in held {
            let device = &held.rows.device;
            let dict = held
                .dict()
                .and_then(|hash| Some((hash, self.dicts.get(device, hash)?)));
            match dict {
                Some((hash, dict)) => {
                    release(&mut plan, *number, held, &dict, due, now);
                    dicts.insert((device.clone(), hash), dict);
                }
                None if held.rows.received < expired => {
                    remove(&mut plan, *number, held, Removal::Expired, now);
                }
                // It cannot be read just now.
                None => {}
            }
        }
        let out = plan.quarantine.len();
        self.carry_out(writer, &mut plan, &dicts, gate)?;
        Ok(out)
    }
}
