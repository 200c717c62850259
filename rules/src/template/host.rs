//! Host names, ports and links, as Go's `net` and `net/url` read and write them.

use std::net::IpAddr;

/// `host:port`, `[v6]:port`: host and port, or `None` where Go's `net.SplitHostPort` gives an error.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// The host without its port.
pub(super) fn strip_port(text: &str) -> String {
    split(text).map_or(text, |(host, _)| host).to_owned()
}

/// The first label of a host's name, with the port if there is one; addresses stay.
pub(super) fn strip_domain(text: &str) -> String {
    let (host, port) = split(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let first = host.split('.').next().unwrap_or_default();
    match port {
        "" => first.to_owned(),
        port if first.contains(':') => format!("[{first}]:{port}"),
        port => format!("{first}:{port}"),
    }
}

/// The path of a URL.
pub(super) fn path(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let path = rest[..end].find('/').map_or("", |start| &rest[start..end]);
    path.to_owned()
}

/// The link to an expression in Prometheus's own pages: tab 0 is the graph, 1 the table.
pub(super) fn graph_link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", query_escape(expr))
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_domains_go() {
        assert_eq!(strip_port("a.b:80"), "a.b");
        assert_eq!(strip_port("a.b"), "a.b");
        assert_eq!(strip_port("[::1]:80"), "::1");
        assert_eq!(strip_port("::1"), "::1");
        assert_eq!(strip_domain("a.b.c:80"), "a:80");
        assert_eq!(strip_domain("a.b.c"), "a");
        assert_eq!(strip_domain("10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(strip_domain("[::1]:80"), "[::1]:80");
    }

    #[test]
    fn links_are_escaped() {
        assert_eq!(
            graph_link("up{a=\"b c\"} == 0", 1),
            "/graph?g0.expr=up%7Ba%3D%22b+c%22%7D+%3D%3D+0&g0.tab=1"
        );
        assert_eq!(path("http://h:1/p/q?x=/y"), "/p/q");
        assert_eq!(path("http://h:1"), "");
    }
}
