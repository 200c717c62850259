//! What a device may send on one connection, enforced where its bytes arrive.
//!
//! The bridge's acks grant absolute limits per lane; they count only if they name the nonce of this connection, which
//! its first state gave. Of both messages only the fields needed here are decoded: the lists in them cost nothing.

use prost::Message as _;
use wire::payload;
use wire::topic::Up;

use super::queue::is_alert;
use crate::fault::Fault;

/// Payload bytes of alerts and replies that may wait for a bridge; one larger message may wait alone.
const ALERT_BYTES: usize = 16_384;

/// The head of [`wire::message::State`].
#[derive(Clone, PartialEq, prost::Message)]
struct StateHead {
    #[prost(fixed64, tag = "2")]
    nonce: u64,
}

/// The head of [`wire::message::Ack`].
#[derive(Clone, PartialEq, prost::Message)]
struct AckHead {
    #[prost(fixed64, tag = "3")]
    nonce: u64,
    #[prost(uint64, tag = "6")]
    fresh_credit: u64,
    #[prost(uint64, tag = "7")]
    backlog_credit: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Lane {
    sent: u64,
    granted: u64,
}

impl Lane {
    fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        let sent = self.sent.saturating_add(bytes);
        if sent > self.granted {
            return Err(Fault::Credit);
        }
        self.sent = sent;
        Ok(())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    nonce: Option<u64>,
    fresh: Lane,
    backlog: Lane,
}

impl Credit {
    /// Accounts for a message; `alerts_waiting`: bytes of alerts that wait already.
    pub(crate) fn spend(&mut self, channel: Up, payload: &[u8], alerts_waiting: usize) -> Result<(), Fault> {
        let bytes = payload.len() as u64;
        match channel {
            Up::State => self.state(payload),
            Up::Batch | Up::Dict => self.fresh.spend(bytes),
            Up::Backlog => self.backlog.spend(bytes),
            Up::Alert | Up::Reply => {
                debug_assert!(is_alert(channel));
                if alerts_waiting > 0 && alerts_waiting + payload.len() > ALERT_BYTES {
                    return Err(Fault::AlertCredit);
                }
                Ok(())
            }
        }
    }

    /// Takes the grant of an ack; one of another connection, or that cannot be read, grants nothing.
    pub(crate) fn grant(&mut self, ack: &[u8]) {
        let Ok(body) = payload::open(ack, wire::limits::MAX_BODY) else {
            return;
        };
        let Ok(head) = AckHead::decode(body.as_ref()) else {
            return;
        };
        if self.nonce == Some(head.nonce) {
            self.fresh.granted = self.fresh.granted.max(head.fresh_credit);
            self.backlog.granted = self.backlog.granted.max(head.backlog_credit);
        }
    }

    fn state(&mut self, state: &[u8]) -> Result<(), Fault> {
        let body = payload::open(state, wire::limits::MAX_BODY).map_err(|_| Fault::State)?;
        let head = StateHead::decode(body.as_ref()).map_err(|_| Fault::State)?;
        match self.nonce.replace(head.nonce) {
            Some(before) if before != head.nonce => Err(Fault::State),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::message::{Ack, Range, SessionAck, State};

    use super::*;

    fn state(nonce: u64) -> Vec<u8> {
        payload::seal(
            &State {
                version: 1,
                nonce,
                connected: true,
                ..State::default()
            }
            .encode_to_vec(),
        )
    }

    fn ack(nonce: u64, fresh_credit: u64, backlog_credit: u64) -> Vec<u8> {
        let settled = vec![Range { first: 1, more: 9 }; 50];
        let sessions = vec![SessionAck {
            session: 1,
            settled,
            ..SessionAck::default()
        }];
        let ack = Ack {
            version: 1,
            nonce,
            sessions,
            fresh_credit,
            backlog_credit,
            ..Ack::default()
        };
        payload::seal(&ack.encode_to_vec())
    }

    #[test]
    fn nothing_is_granted_before_an_ack_that_answers_this_connection() {
        let mut credit = Credit::default();
        credit.grant(&ack(0, 100, 100));
        assert_eq!(credit.spend(Up::Batch, &[0; 1], 0), Err(Fault::Credit));
        assert_eq!(credit.spend(Up::State, &state(7), 0), Ok(()));
        credit.grant(&ack(8, 100, 100));
        assert_eq!(
            credit.spend(Up::Batch, &[0; 1], 0),
            Err(Fault::Credit),
            "another connection's ack"
        );
        credit.grant(&ack(7, 100, 50));
        assert_eq!(credit.spend(Up::Batch, &[0; 60], 0), Ok(()));
        assert_eq!(
            credit.spend(Up::Dict, &[0; 41], 0),
            Err(Fault::Credit),
            "one lane with batches"
        );
        assert_eq!(credit.spend(Up::Dict, &[0; 40], 0), Ok(()));
        assert_eq!(credit.spend(Up::Backlog, &[0; 51], 0), Err(Fault::Credit));
        assert_eq!(credit.spend(Up::Backlog, &[0; 50], 0), Ok(()));
    }

    #[test]
    fn grants_only_rise() {
        let mut credit = Credit::default();
        credit.spend(Up::State, &state(7), 0).unwrap();
        credit.grant(&ack(7, 100, 0));
        credit.grant(&ack(7, 10, 0));
        credit.grant(b"\x00\xff\xff");
        credit.grant(b"");
        assert_eq!(credit.spend(Up::Batch, &[0; 100], 0), Ok(()));
    }

    #[test]
    fn a_connection_has_one_nonce_and_readable_states() {
        let mut credit = Credit::default();
        assert_eq!(credit.spend(Up::State, &state(7), 0), Ok(()));
        assert_eq!(credit.spend(Up::State, &state(7), 0), Ok(()));
        assert_eq!(credit.spend(Up::State, &state(8), 0), Err(Fault::State));
        assert_eq!(Credit::default().spend(Up::State, b"\x09x", 0), Err(Fault::State));
        assert_eq!(
            Credit::default().spend(Up::State, b"\x00\xff\xff\xff", 0),
            Err(Fault::State)
        );
    }

    #[test]
    fn alerts_have_an_allowance_of_their_own() {
        let mut credit = Credit::default();
        assert_eq!(credit.spend(Up::Alert, &[0; 30_000], 0), Ok(()), "alone");
        assert_eq!(credit.spend(Up::Alert, &[0; 384], 16_000), Ok(()));
        assert_eq!(
            credit.spend(Up::Reply, &[0; 385], 16_000),
            Err(Fault::AlertCredit)
        );
    }
}
