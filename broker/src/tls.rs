//! TLS of the front: the configuration of now, replaced when its files change, and live sessions cut off by it.

mod stream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use certs::{PeerCertificate, Refusal, Reload, ServerTls, ServerTlsSource, Standing};
use rustls::CertificateError;
pub(crate) use stream::TlsStream;
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

use crate::config::ReloadSignal;
use crate::fault::Fault;
use crate::front::Front;

/// How often the files are looked at.
const POLL: Duration = Duration::from_millis(200);

/// How often live sessions are looked at for certificates that ended meanwhile, in polls.
const SWEEP_POLLS: u32 = 300;

/// The TLS configuration of now.
pub(crate) type CurrentTls = Arc<ArcSwap<ServerTls>>;

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Why a certificate may not (any more) be used.
pub(crate) fn judge(tls: &ServerTls, certificate: &PeerCertificate, now: Timestamp) -> Option<Fault> {
    if tls.revoked().covers(certificate) {
        return Some(Fault::Revoked);
    }
    match certificate.standing(now, tls.grace()) {
        Standing::Valid | Standing::Grace => None,
        Standing::NotYet | Standing::Expired => Some(Fault::Expired),
    }
}

/// The fault that a refused peer is counted under.
pub(crate) fn refusal(refusal: &Refusal) -> Fault {
    match refusal {
        Refusal::NoCertificate => Fault::NoCertificate,
        Refusal::Identity(_) => Fault::Identity,
        Refusal::Revoked(_) => Fault::Revoked,
        Refusal::NotValid(_) => Fault::Expired,
    }
}

/// The fault that a failed handshake is counted under.
pub(crate) fn handshake_fault(error: &io::Error) -> Fault {
    let Some(error) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
        return Fault::Gone;
    };
    match error {
        rustls::Error::NoCertificatesPresented => Fault::NoCertificate,
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Revoked => Fault::Revoked,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Fault::Expired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Fault::Foreign,
            _ => Fault::Tls,
        },
        _ => Fault::Tls,
    }
}

/// Watches the files until `shutdown`; a revoked session is cut off as soon as the CRL that names it is read.
pub(crate) async fn watch(
    mut source: ServerTlsSource,
    current: CurrentTls,
    front: Arc<Front>,
    signal: ReloadSignal,
    shutdown: CancellationToken,
) {
    let mut polls = 0;
    loop {
        let forced = tokio::select! {
            () = shutdown.cancelled() => return,
            () = signal.fired() => true,
            () = tokio::time::sleep(POLL) => false,
        };
        let read = tokio::task::spawn_blocking(move || {
            let reload = if forced { source.reload() } else { source.poll() };
            (source, reload)
        });
        let Ok((back, reload)) = read.await else {
            tracing::error!("reading the TLS files panicked; they are not watched any more");
            return;
        };
        source = back;
        polls += 1;
        if take(reload, &current, &front) || polls % SWEEP_POLLS == 0 {
            let (tls, now) = (current.load(), now());
            front.sweep(|certificate| judge(&tls, certificate, now));
        }
    }
}

/// Puts a new configuration in place; whether there was one.
fn take(reload: Reload, current: &CurrentTls, front: &Front) -> bool {
    match reload {
        Reload::Unchanged => false,
        Reload::Replaced(tls) => {
            tracing::info!(revoked = tls.revoked().len(), "certificates and CRL reloaded");
            front.metrics.reloads.with_label_values(&["replaced"]).inc();
            current.store(Arc::new(*tls));
            true
        }
        Reload::Broken(error) => {
            tracing::error!(%error, "certificates or CRL cannot be read; the ones before stay in use");
            front.metrics.reloads.with_label_values(&["broken"]).inc();
            false
        }
    }
}
