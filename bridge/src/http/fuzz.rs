//! What fuzz targets call (tests/fuzz): the readers of outside bytes behind the API, without a store. Only cargo-fuzz builds it.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use promql::PatternCache;
use tokio::runtime::{Builder, Runtime};
use wire::{Labels, Tenant};

use super::params::Params;
use super::time::{parse_duration, parse_duration_ms};
use super::{alertmanager, query, read};
use crate::web::{Access, Web};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built = Builder::new_current_thread().build();
    built.expect("a runtime without I/O asks the system for nothing")
});

static PATTERNS: LazyLock<PatternCache> = LazyLock::new(PatternCache::default);

/// A request's query string, tenant header and, if it is not empty, form: every parameter that handlers read.
pub fn parameters(query: &str, tenant: &str, form: &str) {
    let mut request = Request::builder().uri(format!("/api/v1/query?{query}"));
    if !tenant.is_empty() {
        request = request.header("X-Scope-OrgID", tenant);
    }
    if !form.is_empty() {
        let kind = "application/x-www-form-urlencoded";
        request = request.method("POST").header(CONTENT_TYPE, kind);
    }
    let Ok(mut request) = request.body(Body::from(form.to_owned())) else {
        return;
    };
    request.extensions_mut().insert(Access::All);
    let Ok(params) = RUNTIME.block_on(Params::from_request(request, &())) else {
        return;
    };
    let _ = params.limit();
    let _ = params.time_or("time", 0);
    let _ = params.optional("timeout", parse_duration);
    let _ = parse_duration_ms(params.get("lookback_delta"));
    let _ = params.selectors(&PATTERNS);
    if let Ok((start, end, step)) = query::range_of(&params) {
        assert!(start <= end && step > 0);
    }
}

/// A body of remote read, as it comes and as the message that would be packed into one.
pub fn read_request(body: &[u8]) {
    let _ = read::checked(body, &Labels::default());
    if let Ok(packed) = snap::raw::Encoder::new().compress_vec(body) {
        let _ = read::checked(&packed, &Labels::default());
    }
}

/// A web configuration file that names no file which is there.
pub fn web_file(text: &str) {
    let _ = Web::of_text(text, |_| Err("No such file".to_owned()));
}

/// A body as `alerts` and as a silence of a tenant.
pub fn alertmanager_bodies(body: &[u8]) {
    let tenant = Tenant::new("acme").expect("a name of letters");
    let _ = alertmanager::reports(body, 1_700_000_000_000);
    let _ = alertmanager::confined(body, &tenant);
}
