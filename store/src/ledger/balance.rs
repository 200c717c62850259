//! Holds a device's counters against what is there at a start, as damage may have taken from either side.

use super::device::Device;

/// What is there of a device's samples at a start, beside its counters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct There {
    /// Samples that heads and blocks were given of files before the newest,
    pub(crate) before: u64,
    /// and of the newest and of those lost after it.
    pub(crate) since: u64,
    /// What the newest file's checkpoint had them given.
    pub(crate) given_before: i128,
    /// Samples that left the quarantine for the heads by records since whose rows cannot be read.
    pub(crate) unread: u64,
    /// Samples in the quarantine's table.
    pub(crate) quarantined: u64,
}

impl Device {
    /// Samples that heads and blocks were given, as the counters have it.
    pub(crate) fn given(&self) -> i128 {
        let removed: u64 = self.removed.values().fold(0, |sum, n| sum.saturating_add(*n));
        i128::from(self.stored) + i128::from(self.recovered)
            - i128::from(self.damaged)
            - i128::from(removed)
            - i128::from(self.quarantined)
    }

    pub(crate) fn left_out(&self) -> &[u64] {
        &self.left_out
    }

    /// Holds the counters against what is there, part by part, so that what is there beyond them in one does not make up for
    /// what lacks in another. What differs is counted beside what differed when the checkpoint was written.
    pub(super) fn reconcile(&mut self, there: There) {
        let mut before = i128::from(there.before) - there.given_before;
        let since = i128::from(there.since) - (self.given() - there.given_before);
        let mut since = since + i128::from(there.unread);
        // Of records read since as much is there as is known, unless an index of an older program, which does not tell files
        // apart, has it among what was before.
        let untold = before.min(-since).max(0);
        before -= untold;
        since += untold;
        let quarantined = i128::from(there.quarantined) - i128::from(self.quarantined);
        for differs in [before, since, quarantined, -i128::from(there.unread)] {
            let (more, less) = (u64::try_from(differs), u64::try_from(-differs));
            self.recovered = self.recovered.saturating_add(more.unwrap_or(0));
            self.damaged = self.damaged.saturating_add(less.unwrap_or(0));
        }
        self.quarantined = there.quarantined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Given 100 samples when the newest file was begun, and 40 of its records since; 10 are in quarantine.
    fn device() -> (Device, There) {
        let mut device = Device::new("acme.gw".parse().unwrap());
        device.stored = 150;
        device.quarantined = 10;
        let there = There {
            before: 100,
            since: 40,
            given_before: 100,
            unread: 0,
            quarantined: 10,
        };
        (device, there)
    }

    fn differs(change: impl Fn(&mut There)) -> (u64, u64) {
        let (mut device, mut there) = device();
        change(&mut there);
        device.reconcile(there);
        assert_eq!(device.quarantined, there.quarantined);
        // The counters are right from then on.
        assert_eq!(device.given(), i128::from(there.before + there.since));
        (device.recovered, device.damaged)
    }

    #[test]
    fn what_lacks_and_what_is_found_beyond_do_not_make_up_for_one_another() {
        assert_eq!(differs(|_| ()), (0, 0));
        assert_eq!(differs(|there| there.before -= 30), (0, 30));
        assert_eq!(differs(|there| there.since += 30), (30, 0));
        let both = |there: &mut There| {
            there.before -= 30;
            there.since += 50;
        };
        assert_eq!(differs(both), (50, 30));
    }

    #[test]
    fn what_left_the_quarantine_unread_lacks_or_is_found_in_blocks() {
        // The record is lost: the table has the rows no more, and blocks may have them.
        assert_eq!(differs(|there| there.quarantined = 0), (0, 10));
        let sealed = |there: &mut There| {
            there.quarantined = 0;
            there.since += 10;
        };
        assert_eq!(differs(sealed), (10, 10));
        // The record is there and its rows cannot be read.
        let unread = |there: &mut There| {
            there.since -= 5;
            there.unread = 5;
        };
        assert_eq!(differs(unread), (0, 5));
        assert_eq!(differs(|there| there.unread = 5), (5, 5));
    }

    #[test]
    fn an_index_that_does_not_tell_files_apart_shows_no_difference() {
        let untold = |there: &mut There| {
            there.before += 40;
            there.since = 0;
        };
        assert_eq!(differs(untold), (0, 0));
    }
}
