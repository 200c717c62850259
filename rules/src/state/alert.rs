//! One alert: a label set of an alerting rule, from its first appearance until 15 minutes after its end.

use promql::Labels;

use crate::group::Pairs;

/// How long, in ms, an alert that has ended is remembered and sent again.
pub(super) const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// Where an alert stands. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// It has fired and has ended.
    Inactive,
    /// Its series is there, but not for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// As Prometheus writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Where it stands.
    pub state: AlertState,
    /// Labels, `alertname` among them.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Pairs,
    /// The expression's value when it last had the series; 0 of a native histogram.
    pub value: f64,
    /// Since when it is pending or firing.
    pub active_at_ms: i64,
    /// When it began to fire.
    pub fired_at_ms: Option<i64>,
    /// When it ended.
    pub resolved_at_ms: Option<i64>,
    /// When it was last sent.
    pub last_sent_ms: Option<i64>,
    /// Until when who got it is to believe it firing.
    pub valid_until_ms: Option<i64>,
    /// Since when it fires without its series, by `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
}

impl Alert {
    /// An alert whose series appears.
    pub(super) fn new(labels: Labels, annotations: Pairs, value: f64, at_ms: i64) -> Self {
        Self {
            state: AlertState::Pending,
            labels,
            annotations,
            value,
            active_at_ms: at_ms,
            fired_at_ms: None,
            resolved_at_ms: None,
            last_sent_ms: None,
            valid_until_ms: None,
            keep_firing_since_ms: None,
        }
    }

    /// Whether it is to be sent: it is not pending, and it has ended since it was last sent or that is long ago.
    pub(super) fn is_due(&self, now_ms: i64, resend_delay_ms: i64) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(sent) = self.last_sent_ms else {
            return true;
        };
        self.resolved_at_ms.is_some_and(|resolved| resolved > sent) || sent + resend_delay_ms < now_ms
    }

    /// Its series is there.
    pub(super) fn present(&mut self, at_ms: i64, for_ms: i64) {
        self.keep_firing_since_ms = None;
        if self.state == AlertState::Pending && at_ms - self.active_at_ms >= for_ms {
            self.state = AlertState::Firing;
            self.fired_at_ms = Some(at_ms);
        }
    }

    /// Its series is not there. Returns whether it goes on firing.
    pub(super) fn absent(&mut self, at_ms: i64, keep_firing_for_ms: i64) -> bool {
        if self.state == AlertState::Firing && keep_firing_for_ms > 0 {
            let since = *self.keep_firing_since_ms.get_or_insert(at_ms);
            if at_ms - since < keep_firing_for_ms {
                return true;
            }
        }
        if self.state == AlertState::Firing {
            self.state = AlertState::Inactive;
            self.resolved_at_ms = Some(at_ms);
        }
        false
    }

    /// Whether it may be forgotten, when its series is not there.
    pub(super) fn is_over(&self, at_ms: i64) -> bool {
        let long_ago = |resolved: i64| at_ms - resolved > RESOLVED_RETENTION_MS;
        self.state == AlertState::Pending || self.resolved_at_ms.is_some_and(long_ago)
    }
}
