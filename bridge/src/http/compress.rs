//! Compression of answers, gzip or deflate, whichever a client names first, as Prometheus chooses.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Bytes from which it is worth it: less fits into one packet anyway.
const LEAST: u64 = 1400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        accepted.split(',').find_map(|name| match name.trim() {
            "gzip" => Some(Encoding::Gzip),
            "deflate" => Some(Encoding::Deflate),
            _ => None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        }
    }

    fn pack(self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(plain)?;
                encoder.finish()
            }
        }
    }
}

/// Compresses the body of an answer that is whole, large enough and not compressed.
pub(super) async fn compress(request: Request, next: Next) -> Response {
    let encoding = Encoding::accepted(request.headers());
    let response = next.run(request).await;
    let bytes = axum::body::HttpBody::size_hint(response.body()).exact();
    let Some(encoding) =
        encoding.filter(|_| bytes.is_some_and(|bytes| bytes >= LEAST) && is_text(response.headers()))
    else {
        return response;
    };
    let (mut head, body) = response.into_parts();
    // All of it is in memory: its size is known.
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(head, Body::empty());
    };
    let to_pack = plain.clone();
    match tokio::task::spawn_blocking(move || encoding.pack(&to_pack)).await {
        Ok(Ok(packed)) => {
            let name = HeaderValue::from_static(encoding.name());
            head.headers.insert(header::CONTENT_ENCODING, name);
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(packed))
        }
        _ => Response::from_parts(head, Body::from(plain)),
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("");
    !headers.contains_key(header::CONTENT_ENCODING)
        && (kind.starts_with("text/") || kind.starts_with("application/json"))
}
