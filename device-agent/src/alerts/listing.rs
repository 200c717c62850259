//! GET `/api/v2/alerts`: the alerts of this device that fire, as Alertmanager lists them (its api/v2/openapi.yaml).
//!
//! There are no silences and inhibitions here, and one receiver, the bridge; alerts that are over are not listed.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use promql::{MatchOp, Matcher, go_quote, parse_selector};
use serde_json::{Map, Value, json};
use wire::Labels;
use wire::labels::METRIC_NAME;
use wire::time::rfc3339_of;

use super::api::{AlertApi, Answer, only_from_here, refusal};
use super::desk::Listed;

/// Where all alerts go.
const RECEIVER: &str = "bridge";

/// GET `alerts`, with `filter`, `receiver` and `active`; others may be given and change nothing.
pub(crate) async fn alerts(
    State(api): State<AlertApi>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(params): Query<Vec<(String, String)>>,
) -> Answer<Json<Vec<Value>>> {
    only_from_here(peer)?;
    let wrong = |reason: String| refusal(StatusCode::BAD_REQUEST, reason);
    let matchers = matchers(&params).map_err(wrong)?;
    let listed = api.desk.list().await;
    let listed = listed.map_err(|error| refusal(StatusCode::SERVICE_UNAVAILABLE, error))?;
    if !asks_for_active(&params) {
        return Ok(Json(Vec::new()));
    }
    let fits = |alert: &&Listed| {
        let labels = &alert.posted.labels;
        matchers.iter().all(|matcher| match matcher.name() {
            name if name == RECEIVER_FILTER => matcher.matches(RECEIVER),
            name => matcher.matches(labels.get(name).unwrap_or_default()),
        })
    };
    Ok(Json(listed.iter().filter(fits).map(shown).collect()))
}

/// The parameter `receiver` as a matcher's name; no label of an alert is called so.
const RECEIVER_FILTER: &str = "__receiver__";

/// All filters, and the receiver's pattern.
fn matchers(params: &[(String, String)]) -> Result<Vec<Matcher>, String> {
    let mut all = Vec::new();
    for (key, text) in params {
        let wrong = |error: &dyn std::fmt::Display| format!("{key} {text:?}: {error}");
        match key.as_str() {
            "filter" => all.extend(filters(text).map_err(|error| wrong(&error))?),
            "receiver" => {
                let matcher = Matcher::new(RECEIVER_FILTER, MatchOp::Regex, text.as_str());
                all.push(matcher.map_err(|error| wrong(&error))?);
            }
            _ => {}
        }
    }
    Ok(all)
}

/// The matchers of a filter, which are PromQL's but for values that need no quotes.
fn filters(text: &str) -> Result<Vec<Matcher>, String> {
    let text = text.trim();
    let text = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    let mut quoted = false;
    let mut escaped = false;
    let parts = text.split(|c: char| {
        let is_quote = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        quoted ^= is_quote;
        c == ',' && !quoted
    });
    let parts = parts.map(quote).collect::<Option<Vec<String>>>();
    let parts = parts.ok_or("it has no name, operator and value")?;
    // A selector must not match everything, a filter may: the name is only for that, as alerts have none.
    let selector = format!("{{__name__=\"alert\",{}}}", parts.join(","));
    let parsed = parse_selector(&selector).map_err(|error| error.to_string())?;
    let named = parsed.into_iter().filter(|matcher| matcher.name() != METRIC_NAME);
    Ok(named.collect())
}

/// A matcher with its value in quotes.
fn quote(matcher: &str) -> Option<String> {
    let (name, rest) = matcher.split_at(matcher.find(['=', '!'])?);
    let operators = ["=~", "!~", "!=", "="];
    let (op, value) = operators
        .iter()
        .find_map(|op| Some((op, rest.strip_prefix(op)?)))?;
    let value = value.trim();
    let value = match value.starts_with('"') {
        true => value.to_owned(),
        false => go_quote(value.as_bytes()),
    };
    Some(format!("{}{op}{value}", name.trim()))
}

fn asks_for_active(params: &[(String, String)]) -> bool {
    let active = params.iter().find(|(key, _)| key == "active");
    active.is_none_or(|(_, value)| value != "false")
}

fn shown(listed: &Listed) -> Value {
    let posted = &listed.posted;
    json!({
        "labels": object(&posted.labels),
        "annotations": object(&posted.annotations),
        "startsAt": rfc3339_of(posted.starts_ms),
        "endsAt": rfc3339_of(posted.ends_ms),
        "updatedAt": rfc3339_of(listed.updated.ms()),
        "generatorURL": posted.generator_url,
        "fingerprint": format!("{:016x}", fingerprint(&posted.labels)),
        "receivers": [{ "name": RECEIVER }],
        "status": { "state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [] },
    })
}

fn object(labels: &Labels) -> Map<String, Value> {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)));
    pairs.collect()
}

/// Prometheus's of a label set (common/model): FNV-1a over names and values, each followed by a byte that no text has.
fn fingerprint(labels: &Labels) -> u64 {
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn filters_are_alertmanager_s() {
        let params = [
            param("filter", "alertname=\"Hot\""),
            param("filter", "{severity!=\"a,\\\"b\", rack=~r.*}"),
            param("receiver", "br.*"),
            param("silenced", "true"),
        ];
        let found = matchers(&params).unwrap();
        let names: Vec<&str> = found.iter().map(Matcher::name).collect();
        assert_eq!(names, ["alertname", "severity", "rack", RECEIVER_FILTER]);
        assert!(found[1].matches("") && !found[1].matches("a,\"b") && found[2].matches("r7"));
        assert!(found[3].matches(RECEIVER));
        assert!(matchers(&[param("filter", "a=")]).unwrap()[0].matches(""));
        for wrong in ["a", "=b", "a=\"b", "a=~("] {
            let error = matchers(&[param("filter", wrong)]).unwrap_err();
            assert!(error.starts_with(&format!("filter {wrong:?}: ")), "{error}");
        }
        assert!(asks_for_active(&params) && !asks_for_active(&[param("active", "false")]));
        // common/model: LabelSet{}.Fingerprint() is the FNV offset basis.
        assert_eq!(fingerprint(&Labels::default()), 0xcbf2_9ce4_8422_2325);
    }
}
