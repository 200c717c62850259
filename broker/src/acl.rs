//! Which topics a role may use; docs/identity.md has the table.
//!
//! A device: its own up topics, its own down topics. A bridge: up topics of all devices by channel and shard, down
//! topics of devices of its tenant. An operator: everything outside `bh/` and `$`, and copies of states to read. A
//! payload never says who it is from.

use wire::topic::{Down, PREFIX, Up};
use wire::{DeviceName, Identity, Role, Topic};

use crate::fault::Fault;

/// First level of backhaul's own topics.
const OWN: &str = "bh";

/// The most levels of an operator's topic or filter.
const MAX_LEVELS: usize = 16;

/// Where a permitted publish goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device's own channel, to the bridge.
    Up(Up),
    /// A bridge's message to a device.
    Down(DeviceName, Down),
    /// An operator's, to the router.
    Other,
}

/// A permitted subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// A device's own channel.
    Down(Down),
    /// A channel of all devices, of one shard or all.
    Up(Up, Option<u8>),
    /// An operator's, at the router.
    Other(String),
}

/// Judges a publish. The topic is printable ASCII of bounded length already.
pub(crate) fn publish(peer: &Identity, topic: &str) -> Result<Target, Fault> {
    match (peer.role(), Topic::parse(topic)) {
        (Role::Device, Some(Topic::Up(name, up))) if name == *peer.name() => Ok(Target::Up(up)),
        (Role::Bridge, Some(Topic::Down(name, down))) if peer.covers(name.tenant()) => {
            Ok(Target::Down(name, down))
        }
        (Role::Operator, _) if !topic.is_empty() && is_free(topic) && !topic.contains(['+', '#']) => {
            Ok(Target::Other)
        }
        _ => Err(Fault::PublishAcl),
    }
}

/// Judges a will: a device's own state, or whatever an operator may publish.
pub(crate) fn will(peer: &Identity, topic: &str) -> Result<(), Fault> {
    match publish(peer, topic) {
        Ok(Target::Up(Up::State) | Target::Other) => Ok(()),
        _ => Err(Fault::WillAcl),
    }
}

/// Judges a subscription.
pub(crate) fn subscribe(peer: &Identity, filter: &str) -> Result<Filter, Fault> {
    let judged = match peer.role() {
        Role::Device => match Topic::parse(filter) {
            Some(Topic::Down(name, down)) if name == *peer.name() => Some(Filter::Down(down)),
            _ => None,
        },
        Role::Bridge => up_filter(filter).map(|(up, shard)| Filter::Up(up, shard)),
        Role::Operator if is_wellformed(filter) && (is_free(filter) || is_state_filter(filter)) => {
            Some(Filter::Other(filter.to_owned()))
        }
        _ => None,
    };
    judged.ok_or(Fault::SubscribeAcl)
}

/// Whether an operator may see a message that a wide filter (`#`) caught: not the states of other tenants.
pub(crate) fn may_see(peer: &Identity, topic: &str) -> bool {
    match Topic::parse(topic) {
        Some(Topic::Up(name, Up::State)) => peer.covers(name.tenant()),
        Some(_) => false,
        None => true,
    }
}

/// `bh/1/+/<channel>/+` or `bh/1/+/<channel>/<shard>`.
fn up_filter(filter: &str) -> Option<(Up, Option<u8>)> {
    let (channel, shard) = filter.strip_prefix(PREFIX)?.strip_prefix("+/")?.split_once('/')?;
    let up = Up::ALL.into_iter().find(|up| up.as_str() == channel)?;
    if shard == "+" {
        return Some((up, None));
    }
    let number = u8::from_str_radix(shard, 16).ok()?;
    (format!("{number:02x}") == shard).then_some((up, Some(number)))
}

/// `bh/1/+/state/+`, or of one device.
fn is_state_filter(filter: &str) -> bool {
    matches!(up_filter(filter), Some((Up::State, _)))
        || matches!(Topic::parse(filter), Some(Topic::Up(_, Up::State)))
}

/// Outside backhaul's own topics and the server's (`$SYS`, `$share`).
fn is_free(topic: &str) -> bool {
    let first = topic.split('/').next().unwrap_or_default();
    first != OWN && !first.starts_with('$') && topic.split('/').count() <= MAX_LEVELS
}

/// Wildcards stand alone in their level, `#` in the last one.
fn is_wellformed(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.contains(['+', '#']);
        if (wild && level.len() > 1) || (level == "#" && levels.peek().is_some()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
