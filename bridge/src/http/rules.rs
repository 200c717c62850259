//! `/api/v1/rules`, `alerts` and `alertmanagers`. The bridge evaluates no rules, so the lists are empty; parameters are
//! checked as Prometheus checks them.

use axum::extract::State;

use super::envelope::{ApiError, ErrorKind, Success};
use super::params::Params;
use super::{App, json};
use crate::http_client::shown;

/// GET `rules`.
pub(crate) async fn rules(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    params
        .selectors(&app.patterns)
        .map_err(|error| ApiError::new(ErrorKind::BadData, error.to_string()))?;
    let kind = params.get("type");
    if !matches!(kind.to_ascii_lowercase().as_str(), "" | "alert" | "record") {
        return Err(ApiError::parameter(
            "type",
            format!("not supported value {kind:?}"),
        ));
    }
    params.optional("exclude_alerts", |text| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(()),
        _ => Err(format!(
            "error converting exclude_alerts: strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    })?;
    let limit = params.optional("group_limit", |text| match text.parse::<i64>() {
        Ok(limit) if limit > 0 => Ok(limit),
        Ok(_) => Err("group_limit needs to be greater than 0".to_owned()),
        Err(_) => Err(format!(
            "group_limit needs to be a valid number: strconv.ParseInt: parsing {text:?}: invalid syntax"
        )),
    })?;
    if limit.is_none() && !params.get("group_next_token").is_empty() {
        let reason = "group_limit needs to be present in order to paginate over the groups";
        return Err(ApiError::parameter("group_next_token", reason));
    }
    Ok(fixed(b"{\"groups\":[]}"))
}

/// GET `alerts`.
pub(crate) async fn alerts() -> Success {
    fixed(b"{\"alerts\":[]}")
}

/// GET `alertmanagers`.
pub(crate) async fn alertmanagers(State(app): State<App>) -> Success {
    let active: Vec<String> = app
        .alertmanagers
        .active()
        .iter()
        .map(|one| shown(&one.url))
        .collect();
    let dropped: Vec<String> = app.alertmanagers.dropped().iter().map(shown).collect();
    let data = |out: &mut Vec<u8>| {
        for (key, urls) in [
            ("{\"activeAlertmanagers\":", active),
            (",\"droppedAlertmanagers\":", dropped),
        ] {
            out.extend_from_slice(key.as_bytes());
            json::list(out, &urls, |out, url| {
                out.extend_from_slice(b"{\"url\":");
                json::text(out, url);
                out.push(b'}');
            });
        }
        out.push(b'}');
    };
    Success::new(data, &[], &[])
}

/// GET `notifications`: of the web interface, which has none.
pub(crate) async fn notifications() -> Success {
    fixed(b"[]")
}

pub(super) fn fixed(data: &[u8]) -> Success {
    Success::new(|out| out.extend_from_slice(data), &[], &[])
}
