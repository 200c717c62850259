//! Results of the bridge's rules.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wire::{Tenant, Timestamp};

use super::Store;
use crate::error::{CommitError, SelectError};
use crate::heads::Arrival;
use crate::journal::TableWrites;
use crate::record::{Record, ResultsRecord, What};
use crate::results::{self, OwnSample, Recorded, Results};
use crate::tally::Tally;

/// How far ahead of the last round of maintenance a result may be. A round may take long, and rules do not look ahead: it
/// only bounds the windows that a wrong clock can begin.
const AHEAD: Duration = Duration::from_secs(86_400);

impl Store {
    /// Makes results of rules durable in one transaction and then visible. They are the tenant's and no device's: nothing
    /// is added to their labels, and no device's counters know of them. A second value of a series and time takes the place
    /// of the first, also of one that a block has. On an error nothing of them took effect.
    pub fn record(&self, tenant: &Tenant, samples: &[OwnSample]) -> Result<Recorded, CommitError> {
        let mut recorded = Recorded::default();
        let Some(newest) = samples.iter().map(|sample| sample.time).max() else {
            return Ok(recorded);
        };
        let now = self.clock().unwrap_or(newest);
        let mut samples: Vec<&OwnSample> = samples.iter().collect();
        self.refuse_by_time(tenant, now, &mut samples, &mut recorded);
        recorded.overwritten = results::settle(&mut samples);
        // Before commits have to wait, as mostly nothing is refused below.
        let (mut lists, mut packed) = pack(tenant, &samples);

        let mut writer = self.writer();
        self.check_room()?;
        let gate = self.heads.gate();
        self.refuse_by_limit(tenant, &mut samples, &mut recorded);
        if recorded.limit > 0 {
            (lists, packed) = pack(tenant, &samples);
        }
        if lists.is_empty() {
            return Ok(recorded);
        }
        let routing = self.rings.current();
        let ring = routing.generation();
        let record = |results| Record {
            received_ms: now.ms(),
            ring,
            what: Some(What::Results(results)),
            ..Record::default()
        };
        let records: Vec<Record> = packed.into_iter().map(record).collect();
        let changes = TableWrites {
            rings: writer.ring_changes(&routing),
            results: true,
            ..TableWrites::default()
        };
        self.write(&mut writer, &records, changes)?;
        let number = writer.journal.last();
        writer.routed.insert(ring, number);
        let arrival = Arrival {
            number,
            file: writer.journal.file(),
            received_ms: now.ms(),
            ring,
            replayed: false,
        };
        recorded.overwritten += self.heads.record(tenant, lists, arrival);
        gate.applied(number);
        self.dicts.committed(number);
        Ok(recorded)
    }

    fn refuse_by_time(
        &self,
        tenant: &Tenant,
        now: Timestamp,
        samples: &mut Vec<&OwnSample>,
        recorded: &mut Recorded,
    ) {
        let kept = self.config.oldest_kept(tenant, now);
        let ahead = now.plus(AHEAD);
        samples.retain(|sample| {
            if sample.time < kept {
                recorded.refuse_old();
            } else if sample.time > ahead {
                recorded.refuse_future();
            }
            (kept..=ahead).contains(&sample.time)
        });
    }

    /// Leaves those of series that are within the limits; no series comes meanwhile.
    fn refuse_by_limit(&self, tenant: &Tenant, samples: &mut Vec<&OwnSample>, recorded: &mut Recorded) {
        let cap = match self.config.max_series_of(tenant) {
            0 => usize::MAX,
            cap => cap,
        };
        let mut active = if cap < usize::MAX {
            self.heads.active(tenant)
        } else {
            0
        };
        let mut last: Option<(&OwnSample, bool)> = None;
        samples.retain(|sample| {
            if !sample.value.is_within_limits() {
                recorded.refuse_limit();
                return false;
            }
            let known = last.filter(|(of, _)| of.labels == sample.labels);
            let fits = known.map_or_else(
                || {
                    let is_new = cap < usize::MAX && !self.heads.has_result(tenant, &sample.labels);
                    let fits = results::is_within_limits(&sample.labels) && (!is_new || active < cap);
                    active += usize::from(is_new && fits);
                    fits
                },
                |(_, fits)| fits,
            );
            last = Some((sample, fits));
            if !fits {
                recorded.refuse_limit();
            }
            fits
        });
    }

    /// What results of rules are counted as, beside what reading them all finds.
    ///
    /// # Errors
    /// A block of theirs cannot be read.
    pub(crate) fn results(&self) -> Result<(Tally, u64), SelectError> {
        Ok((self.heads.tally(results::OWNER), self.heads.count_results()?))
    }

    /// The bridge's time as the store was last told it.
    fn clock(&self) -> Option<Timestamp> {
        match self.clock.load(Ordering::Relaxed) {
            i64::MIN => None,
            now => Some(Timestamp::from_ms(now)),
        }
    }
}

/// Samples as the heads and as the journal take them.
fn pack(tenant: &Tenant, samples: &[&OwnSample]) -> (Vec<Results>, Vec<ResultsRecord>) {
    let lists = results::arrange(samples);
    let records = results::encode(tenant, &lists);
    (lists, records)
}
