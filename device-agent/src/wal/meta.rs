//! The meta file: what the books hold that segments do not say.
//!
//! Replaced as a whole. One that cannot be read, or does not add up, counts as absent; docs/wal.md says what that costs.

use prost::Message;
use wire::limits::MAX_NUMBER;
use wire::message::{self, Range, ReasonCount};
use wire::seqs::from_ranges;

const MAGIC: &[u8; 8] = b"BHMETA01";

/// The file's content.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Meta {
    /// Samples of sessions that are gone.
    #[prost(uint64, tag = "1")]
    pub(crate) generated_before: u64,
    /// Samples of confirmed gaps, by reason.
    #[prost(message, repeated, tag = "2")]
    pub(crate) dropped: Vec<ReasonCount>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) sessions: Vec<SessionMeta>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) gaps: Vec<GapMeta>,
    #[prost(fixed64, repeated, tag = "5")]
    pub(crate) let_go: Vec<u64>,
    /// Bridge that `dictionaries` is about; 0: none.
    #[prost(fixed64, tag = "6")]
    pub(crate) epoch: u64,
    /// Hash and length of dictionaries that this bridge has.
    #[prost(message, repeated, tag = "7")]
    pub(crate) dictionaries: Vec<DictionaryMeta>,
}

/// One session.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionMeta {
    #[prost(fixed64, tag = "1")]
    pub(crate) session: u64,
    #[prost(fixed64, tag = "2")]
    pub(crate) boot: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) freed: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) freed_total: u64,
    /// Last record that was durable when this was written.
    #[prost(uint64, tag = "5")]
    pub(crate) last: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) total: u64,
    #[prost(message, repeated, tag = "7")]
    pub(crate) settled: Vec<Range>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) dropped: Vec<Range>,
    #[prost(uint64, tag = "9")]
    pub(crate) dropped_samples: u64,
    #[prost(message, optional, tag = "10")]
    pub(crate) anchor: Option<AnchorMeta>,
    /// Records up to `freed`, or dropped, that were alerts and are not settled.
    #[prost(message, repeated, tag = "11")]
    pub(crate) alerts: Vec<Range>,
}

/// How a boot's wall clock relates to its monotonic one.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct AnchorMeta {
    #[prost(sint64, tag = "1")]
    pub(crate) offset_ms: i64,
    #[prost(uint64, tag = "2")]
    pub(crate) error_ms: u64,
}

/// An unsettled gap.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GapMeta {
    #[prost(message, optional, tag = "1")]
    pub(crate) gap: Option<message::Gap>,
    #[prost(uint64, tag = "2")]
    pub(crate) total_before: u64,
    #[prost(uint32, repeated, tag = "3")]
    pub(crate) each: Vec<u32>,
    #[prost(bool, tag = "4")]
    pub(crate) confirmed: bool,
}

/// A dictionary.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DictionaryMeta {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) hash: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) len: u32,
}

impl Meta {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let body = self.encode_to_vec();
        let mut out = Vec::with_capacity(body.len() + 12);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Meta> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (crc, body) = rest.split_at_checked(4)?;
        let intact = crc32c::crc32c(body).to_le_bytes() == crc;
        let meta = intact.then(|| Meta::decode(body).ok()).flatten();
        meta.filter(Meta::is_sound)
    }

    /// Whether its numbers can be reckoned with.
    fn is_sound(&self) -> bool {
        let sums = self.dropped.iter().map(|count| count.samples);
        sums.chain([self.generated_before]).all(in_range)
            && self.sessions.iter().all(SessionMeta::is_sound)
            && self.gaps.iter().all(GapMeta::is_sound)
    }
}

fn in_range(number: u64) -> bool {
    number <= MAX_NUMBER
}

impl SessionMeta {
    fn is_sound(&self) -> bool {
        let numbers = [
            self.freed,
            self.freed_total,
            self.last,
            self.total,
            self.dropped_samples,
        ];
        let sets = [&self.settled, &self.dropped, &self.alerts];
        let offset = self.anchor.map_or(0, |anchor| anchor.offset_ms);
        numbers.into_iter().all(in_range)
            && in_range(offset.unsigned_abs())
            && sets.into_iter().all(|ranges| from_ranges(ranges).is_some())
    }
}

impl GapMeta {
    fn is_sound(&self) -> bool {
        let Some(gap) = &self.gap else { return false };
        let each = self.each.iter().map(|&n| u64::from(n)).sum::<u64>();
        let numbers = [gap.first, gap.last, gap.samples, self.total_before];
        numbers.into_iter().all(in_range)
            && (1..=gap.last).contains(&gap.first)
            && (self.each.is_empty()
                || (self.each.len() as u64 == gap.last - gap.first + 1 && each == gap.samples))
    }
}
