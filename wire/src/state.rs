//! Channel `state`: what a device has, and its will.

use prost::Message;

use crate::limits::{MAX_BODY, MAX_GAPS, MAX_NUMBER, MAX_REASON, MAX_REASONS, MAX_SESSIONS, MAX_WORD};
use crate::message::{Gap, ReasonCount, SessionState, State};
use crate::payload::{self, PayloadError};
use crate::shape::{self, Shape, ShapeError};

const SHAPES: &[Shape] = &[
    Shape::message::<SessionState>(9, &[]),
    Shape::numbers(10),
    Shape::message::<Gap>(11, &[]),
    Shape::message::<ReasonCount>(12, &[]),
];

/// Why a payload is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Of a newer version.
    #[error("state of version {0}; this is version 1")]
    Version(u32),
    /// Not what a state looks like.
    #[error("malformed state: {0}")]
    Malformed(&'static str),
    /// Beyond a limit.
    #[error("state exceeds the limit of {0}")]
    Limit(&'static str),
}

/// The payload of a state.
pub fn encode(state: &State) -> Vec<u8> {
    payload::seal(&state.encode_to_vec())
}

/// Reads a state. Its counts are within the limits, its seqs and totals within `MAX_NUMBER`, no gap ends before it
/// begins, and no session is there twice.
pub fn decode(payload: &[u8]) -> Result<State, StateError> {
    let body = payload::open(payload, MAX_BODY)?.into_owned();
    let state: State = shape::decode(body.into(), SHAPES)?;
    if state.sessions.len() > MAX_SESSIONS || state.let_go.len() > MAX_SESSIONS {
        return Err(StateError::Limit("sessions"));
    }
    if state.gaps.len() > MAX_GAPS {
        return Err(StateError::Limit("gaps"));
    }
    if state.dropped.len() > MAX_REASONS {
        return Err(StateError::Limit("reasons"));
    }
    let reasons = state.dropped.iter().map(|count| &count.reason);
    let words = reasons
        .chain(state.gaps.iter().map(|gap| &gap.reason))
        .chain([&state.agent_version]);
    if words.into_iter().any(|word| word.len() > MAX_WORD) {
        return Err(StateError::Limit("bytes of a word"));
    }
    if state.config.as_ref().is_some_and(|c| c.reason.len() > MAX_REASON) {
        return Err(StateError::Limit("bytes of a reason"));
    }
    let gap_is_sane = |gap: &Gap| {
        (1..=gap.last).contains(&gap.first) && gap.last <= MAX_NUMBER && gap.samples <= MAX_NUMBER
    };
    if !state.gaps.iter().all(gap_is_sane) {
        return Err(StateError::Malformed("gap"));
    }
    check_sessions(&state.sessions)?;
    let totals = state
        .dropped
        .iter()
        .map(|count| count.samples)
        .chain([state.generated]);
    match totals.into_iter().all(|total| total <= MAX_NUMBER) {
        true => Ok(state),
        false => Err(StateError::Limit("sample total")),
    }
}

fn check_sessions(sessions: &[SessionState]) -> Result<(), StateError> {
    let numbers = |s: &SessionState| [s.oldest, s.total_before, s.last, s.total, s.unacked, s.dropped];
    if sessions.iter().flat_map(numbers).any(|n| n > MAX_NUMBER) {
        return Err(StateError::Limit("seq or total"));
    }
    if sessions
        .iter()
        .any(|s| s.oldest > s.last || s.unacked > s.last || s.total_before > s.total)
    {
        return Err(StateError::Malformed("session"));
    }
    let mut ids: Vec<u64> = sessions.iter().map(|s| s.session).collect();
    ids.sort_unstable();
    match ids.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(StateError::Malformed("a session is there twice")),
        false => Ok(()),
    }
}

impl From<PayloadError> for StateError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => StateError::Limit("bytes of a body"),
            PayloadError::Codec(_) => StateError::Malformed("unknown payload codec"),
            PayloadError::Corrupt => StateError::Malformed("payload"),
        }
    }
}

impl From<ShapeError> for StateError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Version(version) => StateError::Version(version),
            ShapeError::Malformed => StateError::Malformed("protobuf"),
            ShapeError::Limit => StateError::Limit("memory of a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{ConfigState, VERSION};

    fn state() -> State {
        State {
            version: VERSION,
            nonce: 3,
            connected: true,
            sessions: vec![SessionState {
                session: 5,
                oldest: 2,
                total_before: 10,
                last: 9,
                total: 90,
                ..SessionState::default()
            }],
            gaps: vec![Gap {
                session: 5,
                first: 1,
                last: 1,
                samples: 10,
                reason: "wal_bytes".to_owned(),
                ..Gap::default()
            }],
            config: Some(ConfigState {
                hash: 7,
                ..ConfigState::default()
            }),
            ..State::default()
        }
    }

    #[test]
    fn a_state_survives() {
        assert_eq!(decode(&encode(&state())), Ok(state()));
    }

    #[test]
    fn what_contradicts_itself_or_exceeds_a_limit_is_refused() {
        let refused = |change: fn(&mut State)| {
            let mut state = state();
            change(&mut state);
            decode(&encode(&state)).unwrap_err()
        };
        assert_eq!(refused(|s| s.version = 2), StateError::Version(2));
        assert_eq!(refused(|s| s.version = 0), StateError::Malformed("protobuf"));
        assert_eq!(refused(|s| s.gaps[0].first = 2), StateError::Malformed("gap"));
        assert_eq!(refused(|s| s.gaps[0].first = 0), StateError::Malformed("gap"));
        assert_eq!(
            refused(|s| s.sessions[0].oldest = 10),
            StateError::Malformed("session")
        );
        assert_eq!(
            refused(|s| s.sessions.push(s.sessions[0])),
            StateError::Malformed("a session is there twice")
        );
        assert_eq!(
            refused(|s| s.let_go = vec![1; 257]),
            StateError::Limit("sessions")
        );
        assert_eq!(
            refused(|s| s.generated = u64::MAX),
            StateError::Limit("sample total")
        );
        assert_eq!(
            refused(|s| s.agent_version = "x".repeat(129)),
            StateError::Limit("bytes of a word")
        );
        assert_eq!(
            refused(|s| s.config = Some(ConfigState {
                reason: "x".repeat(1025),
                ..ConfigState::default()
            })),
            StateError::Limit("bytes of a reason")
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_state_and_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut body = vec![0, 8, 1];
            body.extend(bytes);
            let _ = decode(&body);
        }
    }
}
