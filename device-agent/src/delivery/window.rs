//! How much may be on its way: bytes given to the MQTT client and not yet PUBACKed, bounded by how long they take.
//!
//! The time from publishing to PUBACK beyond the shortest one seen is the queue in front of the link. The window grows
//! while it is used and the queue is short, and shrinks when the queue exceeds a second, so that pings and fresh rows
//! never wait longer behind backlog. It is then about what the link carries in a second.

/// Window of a new connection, bytes.
const FIRST: u64 = 4096;

/// Bounds of the window, bytes.
const RANGE: std::ops::RangeInclusive<u64> = 2048..=1 << 20;

/// Queue up to which the window grows, ms.
const SHORT: u64 = 300;

/// Queue from which it shrinks, ms.
const LONG: u64 = 1000;

/// The window of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    limit: u64,
    in_flight: u64,
    shortest_ms: u64,
    /// The window was more than half full since the last PUBACK.
    used: bool,
}

impl Window {
    pub(crate) fn new() -> Window {
        Window {
            limit: FIRST,
            in_flight: 0,
            shortest_ms: u64::MAX,
            used: false,
        }
    }

    /// Whether a message may go: always if nothing is on its way, so that a large one is not stuck for ever.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.in_flight == 0 || self.in_flight + bytes as u64 <= self.limit
    }

    /// About what the link carries in a second, bytes.
    pub(crate) fn second(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    pub(crate) fn published(&mut self, bytes: usize) {
        self.in_flight += bytes as u64;
        self.used |= self.in_flight * 2 > self.limit;
    }

    /// A message was PUBACKed after so many ms.
    pub(crate) fn acked(&mut self, bytes: usize, after_ms: u64) {
        let bytes = bytes as u64;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.shortest_ms = self.shortest_ms.min(after_ms);
        let queue = after_ms - self.shortest_ms;
        if queue > LONG {
            // At most halved at once: several messages of one queue report it.
            self.limit = (self.limit * LONG / queue).max(self.limit / 2);
        } else if queue < SHORT && self.used {
            self.limit += bytes;
        }
        self.limit = self.limit.clamp(*RANGE.start(), *RANGE.end());
        self.used = self.in_flight * 2 > self.limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the window full of messages over a link of so many bytes per second and round trip; returns the longest
    /// queue of the last half, ms, and the window.
    fn drive(rate: u64, round_trip_ms: u64, message: usize) -> (u64, Window) {
        let mut window = Window::new();
        let mut link_free_ms = 0;
        let mut sent = std::collections::VecDeque::new();
        let (mut now, mut worst) = (0, 0);
        for n in 0..400 {
            while window.has_room(message) {
                window.published(message);
                link_free_ms = now.max(link_free_ms) + message as u64 * 1000 / rate;
                sent.push_back((now, link_free_ms + round_trip_ms));
            }
            let (published, acked) = sent.pop_front().unwrap();
            now = now.max(acked);
            window.acked(message, now - published);
            if n > 200 {
                worst = worst.max(now - published - round_trip_ms);
            }
        }
        (worst, window)
    }

    #[test]
    fn the_queue_stays_within_two_seconds_on_slow_and_fast_links() {
        for (rate, round_trip) in [(2000, 1000), (20_000, 300), (1_000_000, 50)] {
            let (worst, _) = drive(rate, round_trip, 700);
            assert!(worst <= 2000, "{rate} B/s: {worst} ms");
        }
    }

    #[test]
    fn a_fast_link_is_used() {
        let (_, window) = drive(10_000_000, 50, 3000);
        assert!(window.second() > 400_000);
    }
}
