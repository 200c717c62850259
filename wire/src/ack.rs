//! Channel `ack`: what the bridge settled, and what a device may send.
//!
//! A full ack (`answers` > 0) lists, for every session of the state that it answers, all that is settled; any other adds
//! to what is known. An ack is at most `MAX_MESSAGE` bytes: a writer leaves out the oldest ranges, which then count as
//! not acked and cost at most a resend.

use prost::Message;

use crate::limits::{MAX_BODY, MAX_NUMBER, MAX_RANGES, MAX_REASONS, MAX_SESSIONS, MAX_WORD};
use crate::message::{Ack, Range, Refused, SessionAck, Wanting};
use crate::payload::{self, PayloadError};
use crate::shape::{self, Shape, ShapeError};

const RANGES: Shape = Shape::message::<Range>(2, &[]);

const SHAPES: &[Shape] = &[
    Shape::message::<SessionAck>(
        5,
        &[
            RANGES,
            Shape::message::<Refused>(3, &[RANGES]),
            Shape::message::<Range>(4, &[]),
            Shape::message::<Wanting>(5, &[RANGES]),
        ],
    ),
    Shape::numbers(10),
];

/// Why a payload is no ack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// Of a newer version.
    #[error("ack of version {0}; this is version 1")]
    Version(u32),
    /// Not what an ack looks like.
    #[error("malformed ack: {0}")]
    Malformed(&'static str),
    /// Beyond a limit.
    #[error("ack exceeds the limit of {0}")]
    Limit(&'static str),
}

/// The payload of an ack.
pub fn encode(ack: &Ack) -> Vec<u8> {
    payload::seal(&ack.encode_to_vec())
}

/// Reads an ack. Its ranges are sane: within `MAX_NUMBER`, at most `MAX_RANGES` for each session, so that
/// `seqs::from_ranges` takes each list.
pub fn decode(payload: &[u8]) -> Result<Ack, AckError> {
    let body = payload::open(payload, MAX_BODY)?.into_owned();
    let ack: Ack = shape::decode(body.into(), SHAPES)?;
    if ack.sessions.len() > MAX_SESSIONS || ack.forgotten.len() > MAX_SESSIONS {
        return Err(AckError::Limit("sessions"));
    }
    ack.sessions.iter().try_for_each(check)?;
    Ok(ack)
}

fn check(session: &SessionAck) -> Result<(), AckError> {
    if session.refused.len() > MAX_REASONS || session.refused.iter().any(|r| r.reason.len() > MAX_WORD) {
        return Err(AckError::Limit("reasons"));
    }
    if session.wanting.iter().any(|w| !matches!(w.dict.len(), 0 | 16)) {
        return Err(AckError::Malformed("dictionary hash"));
    }
    let refused = session.refused.iter().flat_map(|refused| &refused.ranges);
    let wanting = session.wanting.iter().flat_map(|wanting| &wanting.ranges);
    let ranges = session
        .settled
        .iter()
        .chain(refused)
        .chain(&session.held)
        .chain(wanting);
    let mut count = 0;
    for range in ranges {
        count += 1;
        if range
            .first
            .checked_add(range.more)
            .is_none_or(|last| last > MAX_NUMBER)
        {
            return Err(AckError::Malformed("range"));
        }
    }
    match count > MAX_RANGES {
        true => Err(AckError::Limit("ranges of a session")),
        false => Ok(()),
    }
}

impl From<PayloadError> for AckError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => AckError::Limit("bytes of a body"),
            PayloadError::Codec(_) => AckError::Malformed("unknown payload codec"),
            PayloadError::Corrupt => AckError::Malformed("payload"),
        }
    }
}

impl From<ShapeError> for AckError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Version(version) => AckError::Version(version),
            ShapeError::Malformed => AckError::Malformed("protobuf"),
            ShapeError::Limit => AckError::Limit("memory of a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::VERSION;

    fn with(sessions: Vec<SessionAck>) -> Vec<u8> {
        encode(&Ack {
            version: VERSION,
            nonce: 7,
            fresh_credit: 9,
            sessions,
            ..Ack::default()
        })
    }

    #[test]
    fn an_ack_survives() {
        let session = SessionAck {
            session: 1,
            settled: vec![Range { first: 1, more: 8 }],
            held: vec![Range { first: 12, more: 0 }],
            ..SessionAck::default()
        };
        let ack = decode(&with(vec![session.clone()])).unwrap();
        assert_eq!((ack.nonce, ack.fresh_credit, ack.sessions), (7, 9, vec![session]));
    }

    #[test]
    fn what_is_beyond_a_limit_or_a_version_is_refused_by_name() {
        let range = |first, more| SessionAck {
            settled: vec![Range { first, more }],
            ..SessionAck::default()
        };
        assert_eq!(
            decode(&with(vec![range(u64::MAX, 1)])),
            Err(AckError::Malformed("range"))
        );
        let many = SessionAck {
            settled: vec![Range::default(); MAX_RANGES + 1],
            ..SessionAck::default()
        };
        assert_eq!(
            decode(&with(vec![many])),
            Err(AckError::Limit("ranges of a session"))
        );
        let sessions = vec![SessionAck::default(); MAX_SESSIONS + 1];
        assert_eq!(decode(&with(sessions)), Err(AckError::Limit("sessions")));
        let newer = Ack {
            version: VERSION + 1,
            ..Ack::default()
        };
        assert_eq!(decode(&encode(&newer)), Err(AckError::Version(VERSION + 1)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_ack_and_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut body = vec![0, 8, 1];
            body.extend(bytes);
            let _ = decode(&body);
        }
    }
}
