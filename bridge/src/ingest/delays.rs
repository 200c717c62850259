//! How long alerts are on their way: from when a device logged them until they came here.
//!
//! By the device's monotonic clock where it can be: a state says how that stands to the bridge's, and a jump of a wall clock
//! is no delay. An alert of an earlier boot counts from its own times, if the device trusted its clock.

use wire::message::{Alert, State};

use super::Now;

/// The delays of a device's alerts, as far as the bridge has seen them since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Of the last alert, ms.
    pub(crate) last_ms: Option<u64>,
    /// The longest, ms.
    pub(crate) longest_ms: u64,
    anchor: Option<Anchor>,
}

/// One moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Anchor {
    boot: u64,
    device_ms: u64,
    bridge_ms: u64,
}

impl Delays {
    /// A state that has just been written says what its device's clock is.
    pub(super) fn state(&mut self, state: &State, now: Now) {
        let open = state.sessions.iter().find(|session| !session.closed);
        self.anchor = open.map(|session| Anchor {
            boot: session.boot,
            device_ms: state.mono_ms,
            bridge_ms: now.mono_ms,
        });
    }

    /// Notes an alert that came for the first time; its delay in ms, if that can be told.
    pub(super) fn alert(&mut self, alert: &Alert, now: Now) -> Option<u64> {
        let delay_ms = match self.anchor.filter(|anchor| anchor.boot == alert.boot) {
            Some(anchor) => {
                let since_state = now.mono_ms.saturating_sub(anchor.bridge_ms);
                Some((since_state + anchor.device_ms).saturating_sub(alert.mono_ms))
            }
            None => {
                let told_ms = alert.starts_ms.max(alert.ends_ms);
                let age_ms = now.wall.ms().saturating_sub(told_ms);
                (alert.clock_error_ms == 0).then(|| u64::try_from(age_ms).unwrap_or(0))
            }
        }?;
        self.last_ms = Some(delay_ms);
        self.longest_ms = self.longest_ms.max(delay_ms);
        Some(delay_ms)
    }
}
