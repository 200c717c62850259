//! Channel `alert`: records of alerts, which travel one by one and first.

use prost::Message;

use crate::dict::check_set;
use crate::labels::Labels;
use crate::limits::{MAX_BODY, MAX_LABELS, MAX_NUMBER, MAX_VALUE};
use crate::message::{Alert, Pair};
use crate::number::{Seq, SessionId};
use crate::payload::{self, PayloadError};
use crate::shape::{self, Shape, ShapeError};

/// The fields of an [`Alert`] that name its record.
#[derive(Clone, Copy, PartialEq, Message)]
struct Head {
    #[prost(fixed64, tag = "2")]
    session: u64,
    #[prost(uint64, tag = "3")]
    seq: u64,
}

const SHAPES: &[Shape] = &[Shape::message::<Pair>(7, &[]), Shape::message::<Pair>(8, &[])];

/// Why a payload is no alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// Of a newer version.
    #[error("alert of version {0}; this is version 1")]
    Version(u32),
    /// Not what an alert looks like.
    #[error("malformed alert: {0}")]
    Malformed(&'static str),
    /// Beyond a limit.
    #[error("alert exceeds the limit of {0}")]
    Limit(&'static str),
}

/// The payload of an alert.
pub fn encode(alert: &Alert) -> Vec<u8> {
    payload::seal(&alert.encode_to_vec())
}

/// Reads an alert. Its labels and annotations are label sets within the limits of a series, its numbers within
/// `MAX_NUMBER`.
pub fn decode(payload: &[u8]) -> Result<Alert, AlertError> {
    let body = payload::open(payload, MAX_BODY)?.into_owned();
    let alert: Alert = shape::decode(body.into(), SHAPES)?;
    check(&alert)?;
    Ok(alert)
}

/// The record of a payload that [`decode`] refuses: a version keeps session and seq where they are, so that a bridge can
/// answer for what it cannot read. `None` if not even these are there.
pub fn record(payload: &[u8]) -> Option<(SessionId, Seq)> {
    let body = payload::open(payload, MAX_BODY).ok()?;
    let head = Head::decode(body.as_ref()).ok()?;
    let known = (1..=MAX_NUMBER).contains(&head.seq);
    known.then(|| (SessionId::new(head.session), Seq::new(head.seq)))
}

/// Whether an alert is within the limits of [`decode`].
pub fn check(alert: &Alert) -> Result<(), AlertError> {
    if !(1..=MAX_NUMBER).contains(&alert.seq) {
        return Err(AlertError::Malformed("seq"));
    }
    let times = [alert.starts_ms.unsigned_abs(), alert.ends_ms.unsigned_abs()];
    if times
        .into_iter()
        .chain([alert.mono_ms, alert.total])
        .any(|n| n > MAX_NUMBER)
    {
        return Err(AlertError::Limit("time or total"));
    }
    if alert.generator_url.len() > MAX_VALUE {
        return Err(AlertError::Limit("bytes of a URL"));
    }
    check_pairs(&alert.labels)?;
    check_pairs(&alert.annotations)
}

fn check_pairs(pairs: &[Pair]) -> Result<(), AlertError> {
    if pairs.len() > MAX_LABELS {
        return Err(AlertError::Limit("labels"));
    }
    let set = Labels::new(pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())))
        .map_err(|_| AlertError::Malformed("labels"))?;
    check_set(&set).map_err(|_| AlertError::Limit("bytes of labels"))
}

impl From<PayloadError> for AlertError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => AlertError::Limit("bytes of a body"),
            PayloadError::Codec(_) => AlertError::Malformed("unknown payload codec"),
            PayloadError::Corrupt => AlertError::Malformed("payload"),
        }
    }
}

impl From<ShapeError> for AlertError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Version(version) => AlertError::Version(version),
            ShapeError::Malformed => AlertError::Malformed("protobuf"),
            ShapeError::Limit => AlertError::Limit("memory of a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::VERSION;

    fn pair(name: &str, value: &str) -> Pair {
        Pair {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn an_alert_survives_and_a_wrong_one_is_refused() {
        let alert = Alert {
            version: VERSION,
            session: 1,
            seq: 4,
            labels: vec![pair("alertname", "Hot")],
            annotations: vec![pair("summary", "é")],
            ..Alert::default()
        };
        assert_eq!(decode(&encode(&alert)), Ok(alert.clone()));
        let twice = Alert {
            labels: vec![pair("a", "1"), pair("a", "2")],
            ..alert.clone()
        };
        assert_eq!(decode(&encode(&twice)), Err(AlertError::Malformed("labels")));
        let unnumbered = Alert {
            seq: 0,
            ..alert.clone()
        };
        assert_eq!(decode(&encode(&unnumbered)), Err(AlertError::Malformed("seq")));
        let newer = Alert { version: 2, ..alert };
        assert_eq!(decode(&encode(&newer)), Err(AlertError::Version(2)));
        assert_eq!(record(&encode(&newer)), Some((SessionId::new(1), Seq::new(4))));
        assert_eq!(record(&encode(&unnumbered)), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_alert_and_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut body = vec![0, 8, 1];
            body.extend(bytes);
            let _ = decode(&body);
        }
    }
}
