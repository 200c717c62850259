//! Keeps the log readable under attack: the same event of the same peer once a minute, with a count.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::fault::Fault;

const EVERY: Duration = Duration::from_secs(60);

/// Peers and events that are remembered; beyond that all are forgotten, and said again.
const MAX_EVENTS: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    said: HashMap<(String, Fault), (Instant, u64)>,
}

impl Quiet {
    /// Whether to log an event now, and how often it was left out since the last time.
    pub(crate) fn speak(&mut self, peer: &str, fault: Fault, now: Instant) -> Option<u64> {
        if self.said.len() >= MAX_EVENTS {
            self.said.clear();
        }
        let key = (peer.to_owned(), fault);
        match self.said.get_mut(&key) {
            Some((last, left_out)) if now.duration_since(*last) < EVERY => {
                *left_out += 1;
                None
            }
            entry => {
                let left_out = entry.map_or(0, |(_, left_out)| *left_out);
                self.said.insert(key, (now, 0));
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_said_once_a_minute_with_a_count() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.speak("a", Fault::Credit, start), Some(0));
        assert_eq!(quiet.speak("a", Fault::Credit, start + EVERY / 2), None);
        assert_eq!(
            quiet.speak("a", Fault::PublishAcl, start),
            Some(0),
            "another event"
        );
        assert_eq!(quiet.speak("b", Fault::Credit, start), Some(0), "another peer");
        assert_eq!(quiet.speak("a", Fault::Credit, start + EVERY), Some(1));
        assert_eq!(quiet.speak("a", Fault::Credit, start + 2 * EVERY), Some(0));
    }
}
