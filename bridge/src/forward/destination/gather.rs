//! What a round is to send: read from the journal until a request is full, or the oldest sample has waited its time.

use std::sync::Arc;
use std::time::Duration;

use store::{Piece, Place};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

use super::super::part::Gathered;
use super::super::series::Series;
use super::Desk;

/// How often the end of the journal is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a round is to send.
pub(super) struct Batch {
    pub(super) gathered: Gathered,
    /// Samples that were read for it.
    read: u64,
    /// Where the journal goes on after it.
    pub(super) place: Place,
    /// When the oldest of it arrived.
    pub(super) received: Option<Timestamp>,
}

impl Desk {
    async fn read(&mut self, most: u64) -> Option<Piece<Option<Arc<Series>>>> {
        let to = self.to.config.clone();
        self.with_tail(move |tail| {
            tail.read(most, &mut |tenant, labels| {
                Series::of(tenant, labels, &to).map(Arc::new)
            })
        })
        .await
    }

    /// Reads until a request is full or the oldest sample has waited its time; `None`: it is to stop.
    pub(super) async fn gather(&mut self, stop: &CancellationToken) -> Option<Batch> {
        let queue = self.to.config.queue;
        let most = (self.shards * queue.capacity.max(queue.max_samples_per_send)) as u64;
        let age = queue.sample_age_limit;
        let oldest_ms = age.map_or(i64::MIN, |age| self.now().minus(age).ms());
        let mut batch = Batch {
            gathered: Gathered::default(),
            read: 0,
            place: self.place,
            received: None,
        };
        let mut due: Option<Instant> = None;
        loop {
            if let Some(piece) = self.read(most - batch.read.min(most)).await {
                batch.read += piece.samples;
                batch.place = piece.place;
                for rows in piece.rows {
                    batch.received = batch.received.into_iter().chain([rows.received]).min();
                    batch
                        .gathered
                        .add(rows, oldest_ms, self.to.config.native_histograms);
                }
            }
            if batch.read == 0 && batch.place != self.place {
                // Nothing for the destination in it.
                self.pass(batch.place).await;
            }
            if batch.read > 0 {
                let due = *due.get_or_insert_with(|| Instant::now() + queue.batch_send_deadline);
                let full =
                    batch.read >= most || batch.gathered.samples() >= queue.max_samples_per_send as u64;
                if full || due <= Instant::now() {
                    return Some(batch);
                }
            }
            self.write_cursor_when_due().await;
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(due.map_or(Instant::now() + LOOK, |due| due.min(Instant::now() + LOOK))) => {}
            }
        }
    }
}
