//! When groups are evaluated: each at its own place within the interval, the same on every start.

use promql::Labels;

use crate::group::Group;

impl Group {
    /// The last of the group's evaluation times (Unix ms) that is not after `now_ms`, as Prometheus computes it: times
    /// are apart by the interval and shifted by a hash of file and name, to the nanosecond.
    pub fn slot(&self, now_ms: i64, interval_ms: i64) -> i64 {
        let interval = i128::from(interval_ms.max(1)) * 1_000_000;
        let labels: Labels = [("file", self.file.as_str()), ("name", self.name.as_str())]
            .into_iter()
            .collect();
        let offset = i128::from(labels.hash()) % interval;
        let adjusted = i128::from(now_ms) * 1_000_000 - offset;
        let slot = adjusted - adjusted.rem_euclid(interval) + offset;
        // Not after now, which is between 0 and i64::MAX ms.
        i64::try_from(slot.div_euclid(1_000_000)).unwrap_or(now_ms)
    }

    /// The first of the group's evaluation times after `now_ms`, in Unix ms.
    pub fn next_at(&self, now_ms: i64, interval_ms: i64) -> i64 {
        self.slot(now_ms, interval_ms).saturating_add(interval_ms.max(1))
    }
}

#[cfg(test)]
mod tests {
    use crate::group::Group;

    fn group(name: &str) -> Group {
        Group {
            name: name.to_owned(),
            file: "f.yml".to_owned(),
            interval_ms: None,
            query_offset_ms: None,
            limit: None,
            wait_for: None,
            rules: Vec::new(),
        }
    }

    #[test]
    fn times_are_apart_by_the_interval_and_never_after_now() {
        for name in ["a", "b", "node"] {
            let group = group(name);
            for now in [1_700_000_000_000_i64, 1_700_000_012_345, 1_700_000_059_999] {
                let slot = group.slot(now, 60_000);
                assert!(slot <= now && now - slot <= 60_000, "{name} {now} {slot}");
                assert_eq!(group.next_at(now, 60_000), slot + 60_000);
                assert_eq!(group.slot(slot + 60_001, 60_000), slot + 60_000);
            }
        }
        assert_ne!(group("a").slot(0, 60_000), group("b").slot(0, 60_000));
    }
}
