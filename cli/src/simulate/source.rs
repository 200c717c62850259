//! What a simulated device measures: recorded pages or generated host-like data, one value per series and scrape.
//!
//! Both are deterministic functions of (device, scrape), so that a run can be repeated and two systems can be fed alike.

use std::sync::Arc;

use wire::{Labels, Timestamp};

use super::capture::Capture;
use super::host_like;

/// Where samples come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Recorded exposition pages.
    Pages(Arc<Capture>),
    /// Generated data of a small host.
    HostLike,
}

impl Source {
    /// How many series a device has.
    pub(crate) fn series(&self) -> usize {
        match self {
            Source::Pages(capture) => capture.series().len(),
            Source::HostLike => host_like::SERIES.len(),
        }
    }

    /// The labels of a series on the device of this name.
    pub(crate) fn labels(&self, series: usize, instance: &str) -> Labels {
        let own = match self {
            Source::Pages(capture) => capture.series()[series].labels().clone(),
            Source::HostLike => host_like::labels(series),
        };
        own.with("job", "node").with("instance", instance)
    }

    /// The value of a series at a scrape, `None` where the page lacks it.
    pub(crate) fn value(&self, device: u32, scrape: u64, series: usize, time: Timestamp) -> Option<f64> {
        match self {
            Source::Pages(capture) => capture.value(device, scrape, series, time),
            Source::HostLike => Some(host_like::value(device, scrape, series, time)),
        }
    }
}

/// A seedless hash of two numbers (the finaliser of splitmix64), so that every run makes the same data.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(b.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same as a number in 0..1.
pub(crate) fn unit(a: u64, b: u64) -> f64 {
    (mix(a, b) >> 11) as f64 / (1u64 << 53) as f64
}
