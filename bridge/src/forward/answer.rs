//! What a destination's answer means (remote write 1.0 and 2.0, sections on retries and partial writes).
//!
//! What speaks of the samples (400, 413, 422, …) is final: they are dropped and counted. What speaks of the sender or of
//! the moment (401, 403, 404, 405, 407, 408, 429, redirections, 5xx, no answer at all) is tried again for as long as the
//! backlog's budget lasts, so that an expired password loses nothing.

use std::time::{Duration, SystemTime};

use super::request::Protocol;

/// An HTTP answer as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// `X-Prometheus-Remote-Write-Samples-Written` and `…-Histograms-Written`, if either is there.
    pub(crate) written: Option<u64>,
    /// `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// The beginning of the body.
    pub(crate) text: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many samples were written; the others will never be.
    Written(u64),
    /// Nothing was written, and the samples are to blame.
    Refused,
    /// The receiver does not know 2.0: say it in 1.0.
    Older,
    /// Later, not before this time has passed.
    Later(Duration),
}

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manners {
    pub(crate) protocol: Protocol,
    /// It has answered as only a receiver of 2.0 does.
    pub(crate) confirmed: bool,
    /// 429 is tried again.
    pub(crate) retry_on_429: bool,
}

impl Manners {
    /// Judges the answer to a request of so many samples, which was sent in a protocol.
    pub(crate) fn judge(&mut self, sent_in: Protocol, samples: u64, reply: &Reply) -> Verdict {
        let later = Verdict::Later(reply.retry_after.unwrap_or_default());
        let v2 = sent_in == Protocol::V2;
        self.confirmed |= v2 && reply.written.is_some();
        let may_be_older = v2 && !self.confirmed;
        match (reply.status, reply.written) {
            // Without the counts a receiver of 1.0 took it for an empty request.
            (200..=299, None) if v2 => Verdict::Older,
            (200..=299, Some(written)) if v2 => Verdict::Written(written.min(samples)),
            (200..=299, _) => Verdict::Written(samples),
            (415, _) if v2 => Verdict::Older,
            (400, None) if may_be_older => Verdict::Older,
            // What is valid of a partial write is written already.
            (400, Some(written)) if v2 => Verdict::Written(written.min(samples)),
            (429, _) if !self.retry_on_429 => Verdict::Refused,
            (300..=399 | 401 | 403 | 404 | 405 | 407 | 408 | 429 | 500.., _) => later,
            _ => Verdict::Refused,
        }
    }

    /// The receiver does not know 2.0.
    pub(crate) fn fall_back(&mut self) {
        self.protocol = Protocol::V1;
        self.confirmed = false;
    }
}

/// The longest that a receiver may have us wait.
const MOST_WAIT: Duration = Duration::from_secs(3600);

/// `Retry-After`: seconds or an HTTP date.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    Some(wait.min(MOST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(protocol: Protocol, confirmed: bool, status: u16, written: Option<u64>) -> (Verdict, bool) {
        let mut manners = Manners {
            protocol,
            confirmed,
            retry_on_429: true,
        };
        let reply = Reply {
            status,
            written,
            ..Reply::default()
        };
        (manners.judge(protocol, 10, &reply), manners.confirmed)
    }

    #[test]
    fn a_receiver_of_1_0_is_known_by_its_answer_to_2_0() {
        use Protocol::V2;
        for status in [200, 204, 400, 415] {
            assert_eq!(
                judged(V2, false, status, None),
                (Verdict::Older, false),
                "{status}"
            );
        }
        assert_eq!(judged(V2, true, 400, None), (Verdict::Refused, true));
        assert_eq!(judged(V2, false, 204, Some(10)), (Verdict::Written(10), true));
        assert_eq!(judged(V2, false, 400, Some(7)), (Verdict::Written(7), true));
        assert_eq!(judged(V2, false, 204, Some(11)), (Verdict::Written(10), true));
    }

    #[test]
    fn samples_are_dropped_only_when_they_are_to_blame() {
        use Protocol::V1;
        for status in [400, 402, 409, 413, 415, 422] {
            assert_eq!(judged(V1, false, status, None).0, Verdict::Refused, "{status}");
        }
        for status in [301, 401, 403, 404, 405, 407, 408, 429, 500, 502, 503, 504, 599] {
            let later = Verdict::Later(Duration::ZERO);
            assert_eq!(judged(V1, false, status, None).0, later, "{status}");
        }
        assert_eq!(judged(V1, false, 204, None).0, Verdict::Written(10));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 5);
        let after = |text| retry_after(text, now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(5))
        );
        assert_eq!(after("99999999"), Some(MOST_WAIT));
        assert_eq!(after("soon"), None);
    }
}
