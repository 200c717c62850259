//! Runs an evaluation where it may block, and stops it when its time is up or nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use promql::{EvalError, Interrupt};
use tokio::time::{Instant, timeout_at};

use super::App;
use super::envelope::{ApiError, ErrorKind};

/// Cancels the evaluation when the handler's future is dropped before its end.
struct CancelOnDrop(Arc<Interrupt>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Waits for a free slot, then runs `work` on a blocking thread; both within `limit`.
pub(crate) async fn evaluate<T: Send + 'static>(
    app: &App,
    limit: Duration,
    work: impl FnOnce(&Interrupt) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + limit;
    let outcome = run(app, deadline, work).await;
    let word = match &outcome {
        Ok(_) => "success",
        Err(error) => error.kind().word(),
    };
    app.metrics.queries.with_label_values(&[word]).inc();
    outcome
}

async fn run<T: Send + 'static>(
    app: &App,
    deadline: Instant,
    work: impl FnOnce(&Interrupt) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiError> {
    let slot = timeout_at(deadline, Arc::clone(&app.slots).acquire_owned()).await;
    let Ok(slot) = slot else {
        return Err(ApiError::new(
            ErrorKind::Timeout,
            "query timed out in query queue",
        ));
    };
    let interrupt = Arc::new(Interrupt::default());
    let guard = CancelOnDrop(Arc::clone(&interrupt));
    let (metrics, inner) = (app.metrics.clone(), Arc::clone(&interrupt));
    let running = tokio::task::spawn_blocking(move || {
        metrics.queries_running.inc();
        let timer = metrics.query_seconds.start_timer();
        let outcome = work(&inner);
        timer.observe_duration();
        metrics.queries_running.dec();
        // The slot is free only when the thread is, also after a cancellation.
        drop(slot);
        outcome
    });
    let outcome = match timeout_at(deadline, running).await {
        Ok(Ok(outcome)) => outcome.map_err(ApiError::from),
        Ok(Err(_)) => Err(ApiError::new(
            ErrorKind::Internal,
            "the evaluation failed unexpectedly",
        )),
        Err(_) => {
            interrupt.time_out();
            Err(EvalError::Timeout.into())
        }
    };
    drop(guard);
    outcome
}

/// Runs a lookup on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|_| ApiError::new(ErrorKind::Internal, "the lookup failed unexpectedly"))
}
