//! Which record named each dictionary last, so that those that none names any more can go.

use std::collections::{HashMap, HashSet};

use wire::DeviceName;
use wire::dict::DictHash;

/// Last uses by device.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// The number of the last record that named it; 0: none since the start.
    last: HashMap<DeviceName, Vec<(DictHash, u64)>>,
    /// Devices that an operator forgot and that named none since.
    forgotten: HashSet<DeviceName>,
    /// The number of the last commit.
    pub(super) latest: u64,
    /// All dictionaries there are have been entered.
    pub(super) scanned: bool,
}

impl Uses {
    pub(super) fn note(&mut self, device: &DeviceName, hash: DictHash, number: u64) {
        self.forgotten.remove(device);
        self.enter(device, hash, number);
    }

    fn enter(&mut self, device: &DeviceName, hash: DictHash, number: u64) {
        let known = match self.last.get_mut(device) {
            Some(known) => known,
            None => self.last.entry(device.clone()).or_default(),
        };
        match known.iter_mut().find(|(other, _)| *other == hash) {
            Some((_, last)) => *last = number.max(*last),
            None => known.push((hash, number)),
        }
    }

    /// Notes a use by the next commit.
    pub(super) fn note_latest(&mut self, device: &DeviceName, hash: DictHash) {
        self.note(device, hash, self.latest + 1);
    }

    /// Notes a use by the next commit, if the dictionary is known.
    pub(super) fn claim(&mut self, device: &DeviceName, hash: DictHash) -> bool {
        let latest = self.latest;
        self.forgotten.remove(device);
        let known = self.last.get_mut(device);
        let known = known.and_then(|known| known.iter_mut().find(|(other, _)| *other == hash));
        known.is_some_and(|(_, last)| {
            *last = (latest + 1).max(*last);
            true
        })
    }

    /// Enters dictionaries that nobody has used yet.
    pub(super) fn scan(&mut self, all: Vec<(DeviceName, DictHash)>) {
        for (device, hash) in all {
            self.enter(&device, hash, 0);
        }
        self.scanned = true;
    }

    /// A device's dictionaries need not be kept for it any more.
    pub(super) fn forget_device(&mut self, device: &DeviceName) {
        self.forgotten.insert(device.clone());
    }

    /// Those that no record from `oldest` on names, but of a device that is not forgotten the one used last stays, or all
    /// if none was.
    pub(super) fn unused(&self, oldest: u64) -> Vec<(DeviceName, DictHash)> {
        let mut unused = Vec::new();
        for (device, all) in &self.last {
            let newest = all.iter().map(|(_, last)| *last).max().unwrap_or(0);
            if all.iter().all(|(_, last)| *last >= oldest) {
                continue;
            }
            let kept = (!self.forgotten.contains(device)).then_some(newest);
            let gone = all
                .iter()
                .filter(|(_, last)| *last < oldest && Some(*last) != kept);
            unused.extend(gone.map(|(hash, _)| (device.clone(), *hash)));
        }
        unused
    }

    pub(super) fn forget(&mut self, device: &DeviceName, hash: DictHash) {
        if let Some(known) = self.last.get_mut(device) {
            known.retain(|(other, _)| *other != hash);
            if known.is_empty() {
                self.last.remove(device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> DictHash {
        DictHash::from_bytes([n; 16])
    }

    #[test]
    fn what_no_kept_record_names_goes_but_not_a_device_s_last() {
        let (a, b): (DeviceName, DeviceName) = ("t.a".parse().unwrap(), "t.b".parse().unwrap());
        let mut uses = Uses::default();
        uses.note(&a, hash(1), 5);
        uses.note(&a, hash(2), 7);
        uses.note(&a, hash(1), 4);
        uses.scan(vec![
            (a.clone(), hash(3)),
            (b.clone(), hash(1)),
            (b.clone(), hash(2)),
        ]);
        let unused = |uses: &Uses, oldest| {
            let mut found = uses.unused(oldest);
            found.sort_by_key(|(device, hash)| (device.to_string(), *hash.as_bytes()));
            found
        };
        assert_eq!(unused(&uses, 5), [(a.clone(), hash(3))]);
        assert_eq!(unused(&uses, 9), [(a.clone(), hash(1)), (a.clone(), hash(3))]);
        uses.forget_device(&a);
        assert_eq!(unused(&uses, 9).len(), 3);
        uses.forget_device(&b);
        assert_eq!(unused(&uses, 9).len(), 5);
        uses.latest = 8;
        assert!(uses.claim(&a, hash(1)) && !uses.claim(&a, hash(9)) && uses.claim(&b, hash(1)));
        assert_eq!(
            unused(&uses, 9),
            [(a.clone(), hash(2)), (a.clone(), hash(3)), (b, hash(2))]
        );
        uses.forget(&a, hash(3));
        assert_eq!(unused(&uses, 9)[0], (a, hash(2)));
    }
}
