//! A group's state as bytes, for a device, which has no store to read `ALERTS_FOR_STATE` from.
//!
//! Form: `BHRS`, one byte of version (1), XXH64 of the rest (seed 0, little endian), a prost message. Field numbers are
//! never used twice. A later version is refused; a reader of this one skips fields it does not know.

use promql::Labels;
use prost::Message;
use thiserror::Error;
use xxhash_rust::xxh64::xxh64;

use super::GroupState;
use super::alert::{Alert, AlertState};
use super::carry::{Carried, CarriedRule, identity};
use crate::group::Pairs;

const MAGIC: &[u8] = b"BHRS";
const VERSION: u8 = 1;
/// Magic, version, checksum.
const HEAD: usize = 4 + 1 + 8;
/// Largest state in bytes that is read.
pub const MAX_STATE_BYTES: usize = 64 << 20;

/// Why a state was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// Larger than any that was written.
    #[error("{0} bytes are more than a group's state may have, {MAX_STATE_BYTES}")]
    TooLarge(usize),
    /// Not a state, or a damaged one.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Of a later version.
    #[error(
        "its version {found} is later than {VERSION}; run the version that wrote it, or remove it to begin without state"
    )]
    Version {
        /// The version.
        found: u8,
    },
    /// Of another group.
    #[error("it is the state of group {0:?}")]
    OtherGroup(String),
}

#[derive(Clone, PartialEq, Message)]
struct GroupMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(sint64, optional, tag = "2")]
    last_evaluation_ms: Option<i64>,
    #[prost(message, repeated, tag = "3")]
    rules: Vec<RuleMessage>,
    #[prost(message, repeated, tag = "4")]
    stale: Vec<PairsMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct RuleMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    labels: Option<PairsMessage>,
    #[prost(message, repeated, tag = "3")]
    series: Vec<PairsMessage>,
    #[prost(message, repeated, tag = "4")]
    alerts: Vec<AlertMessage>,
}

/// Names and values in turn.
#[derive(Clone, PartialEq, Message)]
struct PairsMessage {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct AlertMessage {
    /// 0 inactive, 1 pending, 2 firing.
    #[prost(uint32, tag = "1")]
    state: u32,
    #[prost(message, optional, tag = "2")]
    labels: Option<PairsMessage>,
    #[prost(message, optional, tag = "3")]
    annotations: Option<PairsMessage>,
    #[prost(double, tag = "4")]
    value: f64,
    #[prost(sint64, tag = "5")]
    active_at_ms: i64,
    #[prost(sint64, optional, tag = "6")]
    fired_at_ms: Option<i64>,
    #[prost(sint64, optional, tag = "7")]
    resolved_at_ms: Option<i64>,
    #[prost(sint64, optional, tag = "8")]
    last_sent_ms: Option<i64>,
    #[prost(sint64, optional, tag = "9")]
    valid_until_ms: Option<i64>,
    #[prost(sint64, optional, tag = "10")]
    keep_firing_since_ms: Option<i64>,
}

impl PairsMessage {
    fn of<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let texts = pairs.flat_map(|(name, value)| [name.to_owned(), value.to_owned()]);
        Self {
            texts: texts.collect(),
        }
    }

    fn of_pairs(pairs: &Pairs) -> Self {
        Self::of(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn pairs(self) -> Result<Pairs, StateError> {
        let (pairs, []) = self.texts.as_chunks::<2>() else {
            return Err(StateError::Damaged("a label has no value"));
        };
        Ok(pairs
            .iter()
            .map(|[name, value]| (name.clone(), value.clone()))
            .collect())
    }

    fn labels(self) -> Result<Labels, StateError> {
        self.pairs().map(Labels::from)
    }
}

impl AlertMessage {
    fn of(alert: &Alert) -> Self {
        Self {
            state: match alert.state {
                AlertState::Inactive => 0,
                AlertState::Pending => 1,
                AlertState::Firing => 2,
            },
            labels: Some(PairsMessage::of(alert.labels.iter())),
            annotations: Some(PairsMessage::of_pairs(&alert.annotations)),
            value: alert.value,
            active_at_ms: alert.active_at_ms,
            fired_at_ms: alert.fired_at_ms,
            resolved_at_ms: alert.resolved_at_ms,
            last_sent_ms: alert.last_sent_ms,
            valid_until_ms: alert.valid_until_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
        }
    }

    fn alert(self) -> Result<Alert, StateError> {
        Ok(Alert {
            state: match self.state {
                0 => AlertState::Inactive,
                1 => AlertState::Pending,
                2 => AlertState::Firing,
                _ => return Err(StateError::Damaged("an alert's state is unknown")),
            },
            labels: self.labels.unwrap_or_default().labels()?,
            annotations: self.annotations.unwrap_or_default().pairs()?,
            value: self.value,
            active_at_ms: self.active_at_ms,
            fired_at_ms: self.fired_at_ms,
            resolved_at_ms: self.resolved_at_ms,
            last_sent_ms: self.last_sent_ms,
            valid_until_ms: self.valid_until_ms,
            keep_firing_since_ms: self.keep_firing_since_ms,
        })
    }
}

impl RuleMessage {
    fn rule(self) -> Result<CarriedRule, StateError> {
        let series = self.series.into_iter().map(PairsMessage::labels);
        let alerts = self.alerts.into_iter().map(AlertMessage::alert);
        Ok(CarriedRule {
            identity: (self.name, self.labels.unwrap_or_default().pairs()?),
            series: series.collect::<Result<_, _>>()?,
            alerts: alerts.collect::<Result<_, _>>()?,
        })
    }
}

impl GroupState {
    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let rules = self.rules.iter().map(|state| {
            let (name, labels) = identity(&state.rule);
            RuleMessage {
                name,
                labels: Some(PairsMessage::of_pairs(&labels)),
                series: state
                    .series
                    .iter()
                    .map(|labels| PairsMessage::of(labels.iter()))
                    .collect(),
                alerts: state.active.values().map(AlertMessage::of).collect(),
            }
        });
        let body = GroupMessage {
            key: self.group.key(),
            last_evaluation_ms: self.last_evaluation_ms,
            rules: rules.collect(),
            stale: self
                .stale
                .iter()
                .map(|labels| PairsMessage::of(labels.iter()))
                .collect(),
        }
        .encode_to_vec();
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&xxh64(&body, 0).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Goes on from a state that was written before a restart. Time in which nothing ran does not count as pending;
    /// firing alerts go on firing until an evaluation says otherwise.
    ///
    /// # Errors
    /// A state that is damaged, of a later version, or of another group; nothing is changed then.
    pub fn load(&mut self, bytes: &[u8], now_ms: i64) -> Result<(), StateError> {
        let message = read(bytes)?;
        if message.key != self.group.key() {
            return Err(StateError::OtherGroup(message.key));
        }
        let rules = message.rules.into_iter().map(RuleMessage::rule);
        let mut rules: Vec<CarriedRule> = rules.collect::<Result<_, _>>()?;
        let stale = message.stale.into_iter().map(PairsMessage::labels);
        let stale = stale.collect::<Result<_, _>>()?;
        let down_ms = message.last_evaluation_ms.unwrap_or(now_ms);
        for rule in &mut rules {
            rule.alerts
                .retain_mut(|alert| alert.resume(down_ms, now_ms, &self.options));
        }
        self.carry(Carried {
            rules,
            stale,
            last_evaluation_ms: message.last_evaluation_ms,
            evaluations: 0,
            restored: true,
        });
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<GroupMessage, StateError> {
    if bytes.len() > MAX_STATE_BYTES {
        return Err(StateError::TooLarge(bytes.len()));
    }
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or(StateError::Damaged("it does not begin as one"))?;
    let (version, rest) = rest.split_first().ok_or(StateError::Damaged("it is cut off"))?;
    if *version != VERSION {
        return Err(StateError::Version { found: *version });
    }
    let (sum, body) = rest
        .split_first_chunk::<8>()
        .ok_or(StateError::Damaged("it is cut off"))?;
    if u64::from_le_bytes(*sum) != xxh64(body, 0) {
        return Err(StateError::Damaged("its checksum does not fit"));
    }
    GroupMessage::decode(body).map_err(|_| StateError::Damaged("its fields do not fit"))
}
