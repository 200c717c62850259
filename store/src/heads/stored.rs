//! What blocks hold at the times of rows that come late, so that every sample of a time that is taken is counted.
//!
//! A device's times in a block are looked up first, and kept; only where one is taken are values read.

use std::collections::HashMap;
use std::sync::Arc;

use super::delivery::Delivery;
use crate::block::BlockFile;
use crate::journal::FileError;
use crate::ledger::DeviceRef;

/// Times that a cache holds at most.
const KEPT_TIMES: usize = 1 << 17;

/// Rows that may meet samples in blocks, which are to be read first.
#[derive(Debug)]
pub(super) struct Behind {
    /// Blocks with samples of the device about the times of the rows, by rising generation.
    pub(super) blocks: Vec<Arc<BlockFile>>,
    /// Series of the group.
    pub(super) series: Arc<[u32]>,
    /// Of the tenant's blocks, as they were when this was found out.
    pub(super) version: u64,
}

/// Samples in blocks at the times of a delivery.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) version: u64,
    values: HashMap<(u32, i64), f64>,
    histograms: HashMap<(u32, i64), Vec<u8>>,
}

/// Times of devices in blocks.
#[derive(Debug, Default)]
pub(super) struct TimesCache {
    known: HashMap<(usize, u64, DeviceRef), Arc<[i64]>>,
    held: usize,
}

impl TimesCache {
    fn of(&mut self, partition: usize, file: &BlockFile, owner: DeviceRef) -> Result<Arc<[i64]>, FileError> {
        let key = (partition, file.meta().generation, owner);
        if let Some(times) = self.known.get(&key) {
            return Ok(times.clone());
        }
        let times: Arc<[i64]> = file.open()?.times_of(owner)?.into();
        if self.held + times.len() > KEPT_TIMES {
            self.known.clear();
            self.held = 0;
        }
        self.held += times.len();
        self.known.insert(key, times.clone());
        Ok(times)
    }
}

impl Stored {
    /// Reads what blocks hold at the times of a delivery. A block that cannot be read holds nothing that a query would
    /// find either.
    pub(super) fn read(
        behind: Behind,
        partition: usize,
        delivery: &Delivery<'_>,
        cache: &mut TimesCache,
    ) -> Stored {
        let mut stored = Stored {
            version: behind.version,
            ..Stored::default()
        };
        let mut ids = behind.series.to_vec();
        ids.sort_unstable();
        let wanted = delivery.times();
        for file in &behind.blocks {
            if let Err(error) = stored.add(file, partition, (&ids, &wanted), delivery, cache) {
                file.doubt();
                let path = file.path();
                tracing::warn!(file = %path.display(), %error, "a block cannot be read; late rows are not compared with it");
            }
        }
        stored
    }

    fn add(
        &mut self,
        file: &BlockFile,
        partition: usize,
        (ids, wanted): (&[u32], &[i64]),
        delivery: &Delivery<'_>,
        cache: &mut TimesCache,
    ) -> Result<(), FileError> {
        let times = cache.of(partition, file, delivery.owner)?;
        let taken: Vec<i64> = wanted
            .iter()
            .copied()
            .filter(|time| times.binary_search(time).is_ok())
            .collect();
        if let (Some(first), Some(last)) = (taken.first(), taken.last()) {
            file.open()?.read(ids, (*first, *last), |id, _, times, values| {
                for (time, value) in times.iter().zip(values) {
                    if taken.binary_search(time).is_ok() {
                        self.values.insert((id, *time), *value);
                    }
                }
            })?;
        }
        if let (false, Some(first), Some(last)) =
            (delivery.rows.histograms.is_empty(), wanted.first(), wanted.last())
        {
            file.open()?
                .histograms(ids, (*first, *last), |id, _, time, bytes| {
                    if wanted.binary_search(&time).is_ok() {
                        self.histograms.insert((id, time), bytes.to_vec());
                    }
                })?;
        }
        Ok(())
    }

    /// Whether nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The sample of a series at a time.
    pub(super) fn value(&self, series: u32, time: i64) -> Option<f64> {
        self.values.get(&(series, time)).copied()
    }

    /// The histogram of a series at a time, protobuf.
    pub(super) fn histogram(&self, series: u32, time: i64) -> Option<&[u8]> {
        self.histograms.get(&(series, time)).map(Vec::as_slice)
    }
}
