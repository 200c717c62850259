//! Runs an evaluation where it may block, and stops it when its time is up or nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use promql::{EvalError, Interrupt};
use tokio::time::{Instant, timeout_at};

use super::App;
use super::envelope::{ApiError, ErrorKind};
use crate::admission::{Queue, Running};

/// Cancels the evaluation when the handler's future is dropped before its end.
struct CancelOnDrop(Arc<Interrupt>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Waits for a slot of a queue, then runs `work` on a blocking thread; both within `limit`.
pub(crate) async fn evaluate<T: Send + 'static>(
    app: &App,
    queue: Queue,
    limit: Duration,
    work: impl FnOnce(&Running) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + limit;
    let outcome = run(app, queue, deadline, work).await;
    let word = match &outcome {
        Ok(_) => "success",
        Err(error) => error.kind().word(),
    };
    app.metrics.queries.with_label_values(&[word]).inc();
    outcome
}

async fn run<T: Send + 'static>(
    app: &App,
    queue: Queue,
    deadline: Instant,
    work: impl FnOnce(&Running) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiError> {
    let running = app.admission.admit(queue, deadline).await?;
    let interrupt = Arc::clone(&running.interrupt);
    let guard = CancelOnDrop(Arc::clone(&interrupt));
    let metrics = app.metrics.clone();
    // The slot is free only when the thread is, also after a cancellation.
    let thread = tokio::task::spawn_blocking(move || {
        let timer = metrics.query_seconds.start_timer();
        let outcome = work(&running);
        timer.observe_duration();
        running.observe();
        outcome
    });
    let outcome = match timeout_at(deadline, thread).await {
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
