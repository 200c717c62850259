//! What the lanes of a destination share while they send.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

use super::answer::{Manners, Reply, Verdict};
use super::client::{Request, Sender};
use super::destination::Destination;
use super::instruments::Instruments;
use super::lane::{Lane, Next};
use super::request::{Protocol, encode};
use super::status::Destinations;
use crate::http_client::ClientError;

const MINUTE: Duration = Duration::from_secs(60);

/// A destination's client, and what is known of it.
#[derive(Clone)]
pub(super) struct Sending {
    name: Arc<str>,
    sender: Sender,
    tenants_apart: bool,
    known: Arc<Mutex<Known>>,
    instruments: Instruments,
    status: Arc<Destinations>,
    clock: fn() -> Timestamp,
}

struct Known {
    manners: Manners,
    complained: Option<Instant>,
}

impl Sending {
    pub(super) fn new(to: &Destination) -> Result<Self, ClientError> {
        Ok(Sending {
            name: to.config.name.as_str().into(),
            sender: Sender::new(to.config.clone())?,
            tenants_apart: to.config.tenant_header.is_some(),
            known: Arc::new(Mutex::new(Known {
                manners: Manners {
                    protocol: to.config.protocol,
                    confirmed: false,
                    retry_on_429: to.config.queue.retry_on_http_429,
                },
                complained: None,
            })),
            instruments: to.instruments.clone(),
            status: to.status.clone(),
            clock: to.clock,
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn manners(&self) -> Manners {
        self.known().manners
    }

    /// Judges an answer, counts it, and says what went wrong once a minute.
    fn judge(&self, sent_in: Protocol, samples: u64, reply: &Reply) -> Verdict {
        let mut known = self.known();
        let verdict = known.manners.judge(sent_in, samples, reply);
        let (name, status, answer) = (&*self.name, reply.status, &*reply.text);
        match &verdict {
            Verdict::Older => {
                if known.manners.protocol == Protocol::V2 {
                    tracing::info!(
                        remote_name = name,
                        status,
                        answer,
                        "it does not know remote write 2.0; 1.0 from now on"
                    );
                }
                known.manners.fall_back();
            }
            Verdict::Written(written) => self.taken(*written),
            _ => {}
        }
        let failed = match verdict {
            Verdict::Older => return verdict,
            Verdict::Written(written) => samples - written,
            Verdict::Refused | Verdict::Later(_) => samples,
        };
        if failed > 0 && known.complained.is_none_or(|at| at.elapsed() >= MINUTE) {
            known.complained = Some(Instant::now());
            let what = match verdict {
                Verdict::Later(_) => "samples wait for the destination",
                _ => "the destination refuses samples",
            };
            tracing::warn!(remote_name = name, status, answer, samples = failed, "{what}");
        }
        if matches!(verdict, Verdict::Later(_)) {
            self.instruments.retried(samples);
            let error = format!("{status} {answer}");
            self.status.change(&self.name, |s| s.error = Some(error));
        }
        verdict
    }

    fn taken(&self, samples: u64) {
        self.instruments.sent(samples);
        self.status.change(&self.name, |status| {
            status.last_sent = Some((self.clock)());
            status.error = None;
        });
    }
}

/// Sends a lane's parts until it is done, or told to stop.
pub(super) async fn run_lane(mut lane: Lane, sending: Sending, cancel: CancellationToken) -> Lane {
    loop {
        let manners = sending.manners();
        let attempt = lane.attempt();
        let Some(part) = lane.current(&manners) else {
            return lane;
        };
        let samples = part.samples();
        let latest = part.times().map(|(_, latest)| latest);
        let tenant = part.series().first().map(|series| series.series.tenant().clone());
        let request = Request {
            body: encode(part, manners.protocol),
            protocol: manners.protocol,
            tenant: tenant.filter(|_| sending.tenants_apart),
            attempt,
        };
        sending.instruments.request(request.body.len());
        let timer = sending.instruments.timer();
        let reply = tokio::select! {
            () = cancel.cancelled() => return lane,
            reply = sending.sender.send(request) => reply,
        };
        timer.observe_duration();
        sending.instruments.answer(reply.status);
        let verdict = sending.judge(manners.protocol, samples, &reply);
        if let (Verdict::Written(1..), Some(latest)) = (&verdict, latest) {
            sending.instruments.latest(latest);
        }
        let next = lane.answered(&verdict, fastrand::f64());
        sending.instruments.retrying(matches!(next, Next::Wait(_)));
        if let Next::Wait(wait) = next {
            tokio::select! {
                () = cancel.cancelled() => return lane,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
