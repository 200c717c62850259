//! Which alerts are to be sent now, as an Alertmanager wants them.

use promql::Labels;

use super::GroupState;
use super::alert::AlertState;
use crate::group::Pairs;
use crate::template;

/// An alert on its way to an Alertmanager, before external labels and relabelling. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct DueAlert {
    /// Labels, `alertname` among them.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Pairs,
    /// When it began to fire.
    pub starts_at_ms: i64,
    /// When it ended; of a firing one, when it ends unless it is sent again.
    pub ends_at_ms: i64,
    /// Whether it has ended.
    pub is_resolved: bool,
    /// A link to the expression.
    pub generator_url: String,
}

impl GroupState {
    /// The alerts to send at `now_ms`, which count as sent. Those of a rule whose expression failed are not
    /// sent, and end for their receiver if it goes on failing.
    pub fn due(&mut self, now_ms: i64) -> Vec<DueAlert> {
        let resend_ms = self.options.resend_delay_ms;
        // Two evaluations or sends may fail before the receiver lets it end.
        let valid_until_ms = now_ms + 4 * resend_ms.max(self.interval_ms());
        let mut due = Vec::new();
        for state in self.rules.iter_mut().filter(|state| state.is_current) {
            let mut generator_url = None;
            let query = state.rule.expr.expr();
            for alert in state
                .active
                .values_mut()
                .filter(|alert| alert.is_due(now_ms, resend_ms))
            {
                alert.last_sent_ms = Some(now_ms);
                alert.valid_until_ms = Some(valid_until_ms);
                let url = generator_url.get_or_insert_with(|| {
                    let link = template::table_link(&query.to_string());
                    format!("{}{link}", self.options.external_url)
                });
                due.push(DueAlert {
                    labels: alert.labels.clone(),
                    annotations: alert.annotations.clone(),
                    starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
                    ends_at_ms: alert.resolved_at_ms.unwrap_or(valid_until_ms),
                    is_resolved: alert.state == AlertState::Inactive,
                    generator_url: url.clone(),
                });
            }
        }
        due
    }
}
