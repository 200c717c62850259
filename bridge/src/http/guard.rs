//! What stands before every route: who asks, and what is said to browsers.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::routes::plain;
use crate::web::Peer;

/// Where Prometheus's API is; only there are browsers of other origins let in.
const API: &str = "/api/v1/";

/// Knows the principal of a request, and hands on what it may see; sets the headers that the file asks for.
pub(super) async fn authenticate(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let web = app.web.borrow().clone();
    let authorization = request.headers().get(header::AUTHORIZATION);
    let mut response = match web.principal(&peer, authorization).await {
        Some(principal) => {
            request.extensions_mut().insert(web.access(&principal, &peer));
            next.run(request).await
        }
        None => {
            // The connection may be what is at fault.
            let challenge = [(header::WWW_AUTHENTICATE, "Basic"), (header::CONNECTION, "close")];
            (challenge, plain(StatusCode::UNAUTHORIZED, "Unauthorized\n")).into_response()
        }
    };
    response.headers_mut().extend(web.headers.iter().cloned());
    response
}

/// Cross-origin requests, as Prometheus answers them (`--web.cors.origin`).
pub(super) async fn cors(State(app): State<App>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(API) {
        return next.run(request).await;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| {
        origin
            .to_str()
            .is_ok_and(|text| app.config.cors_origin.is_match(text))
    });
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    if is_no_route(&response) {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        let fixed = |headers: &mut HeaderMap, name: HeaderName, value| {
            headers.insert(name, HeaderValue::from_static(value))
        };
        fixed(
            headers,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Accept, Authorization, Content-Type, Origin",
        );
        fixed(
            headers,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, OPTIONS",
        );
        fixed(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// Whether the router had no handler for it: such answers are plain texts, of which origins learn nothing.
fn is_no_route(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind == "application/json");
    matches!(
        response.status(),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    ) && !is_json
}

/// `Allow` of a refused method, as Prometheus lists them.
pub(super) async fn allow(mut response: Response) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allowed) = response
            .headers()
            .get(header::ALLOW)
            .and_then(|list| list.to_str().ok())
    {
        let mut methods: Vec<&str> = allowed
            .split(',')
            .map(str::trim)
            .filter(|method| *method != "HEAD")
            .collect();
        methods.push("OPTIONS");
        methods.sort_unstable();
        if let Ok(list) = HeaderValue::try_from(methods.join(", ")) {
            response.headers_mut().insert(header::ALLOW, list);
        }
    }
    response
}
