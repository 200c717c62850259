//! Topics: `bh/1/<tenant>.<device>/<channel>[/<shard>]`.
//!
//! Up channels end in the shard, two lower-case hex digits of XXH64(name) mod 256, so that several bridges can each own
//! some shards by subscription. Down channels have none: a device subscribes to its own name.

use std::fmt;

use crate::name::DeviceName;

/// First levels of every topic of this version.
pub const PREFIX: &str = "bh/1/";

/// What a device says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Up {
    /// Fresh records.
    Batch,
    /// Records that waited.
    Backlog,
    /// Label dictionaries.
    Dict,
    /// Alerts.
    Alert,
    /// What the device has; retained.
    State,
    /// Answers to commands.
    Reply,
}

/// What a device is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Down {
    /// Acks and grants; never retained.
    Ack,
    /// Configuration; replayed at subscribe.
    Config,
    /// Commands.
    Cmd,
}

impl Up {
    /// All of them.
    pub const ALL: [Up; 6] = [Up::Batch, Up::Backlog, Up::Dict, Up::Alert, Up::State, Up::Reply];

    /// The topic level.
    pub fn as_str(self) -> &'static str {
        match self {
            Up::Batch => "batch",
            Up::Backlog => "backlog",
            Up::Dict => "dict",
            Up::Alert => "alert",
            Up::State => "state",
            Up::Reply => "reply",
        }
    }
}

impl Down {
    /// All of them.
    pub const ALL: [Down; 3] = [Down::Ack, Down::Config, Down::Cmd];

    /// The topic level.
    pub fn as_str(self) -> &'static str {
        match self {
            Down::Ack => "ack",
            Down::Config => "config",
            Down::Cmd => "cmd",
        }
    }
}

/// A topic of a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// From the device.
    Up(DeviceName, Up),
    /// To the device.
    Down(DeviceName, Down),
}

impl Topic {
    /// The device whose topic this is.
    pub fn device(&self) -> &DeviceName {
        match self {
            Topic::Up(name, _) | Topic::Down(name, _) => name,
        }
    }

    /// Parses a topic name; `None` for any other topic, and for a shard that is not the name's.
    pub fn parse(text: &str) -> Option<Topic> {
        let mut levels = text.strip_prefix(PREFIX)?.split('/');
        let name: DeviceName = levels.next()?.parse().ok()?;
        let channel = levels.next()?;
        match (levels.next(), levels.next()) {
            (Some(shard), None) => {
                let up = Up::ALL.into_iter().find(|u| u.as_str() == channel)?;
                (shard == format!("{:02x}", name.shard())).then_some(Topic::Up(name, up))
            }
            (None, None) => {
                let down = Down::ALL.into_iter().find(|d| d.as_str() == channel)?;
                Some(Topic::Down(name, down))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Up(name, up) => write!(f, "{PREFIX}{name}/{}/{:02x}", up.as_str(), name.shard()),
            Topic::Down(name, down) => write!(f, "{PREFIX}{name}/{}", down.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_survive_their_text() {
        let name: DeviceName = "acme.gw-1".parse().unwrap();
        for topic in Up::ALL
            .into_iter()
            .map(|u| Topic::Up(name.clone(), u))
            .chain(Down::ALL.into_iter().map(|d| Topic::Down(name.clone(), d)))
        {
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
    }

    #[test]
    fn other_topics_and_foreign_shards_are_none() {
        let name: DeviceName = "acme.gw-1".parse().unwrap();
        let wrong = format!("bh/1/{name}/batch/{:02x}", name.shard().wrapping_add(1));
        let bare = format!("bh/1/{name}/batch");
        for text in [
            wrong.as_str(),
            bare.as_str(),
            "bh/1/acme.gw-1/ack/00",
            "bh/2/acme.gw-1/ack",
            "x",
            "",
            "bh/1/+/ack",
        ] {
            assert_eq!(Topic::parse(text), None, "{text}");
        }
    }
}
