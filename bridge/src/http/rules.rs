//! `/api/v1/rules` and `alerts` in Prometheus's shapes (its `web/api/v1/api.go`), and `alertmanagers`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use axum::extract::State;
use promql::Matcher;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rules::AlertState;
use wire::time::rfc3339_of;

use super::envelope::{ApiError, ErrorKind, Success};
use super::params::Params;
use super::{App, json};
use crate::http_client::shown;
use crate::rules::{AlertView, AlertingView, GroupView, RuleView};

/// What a request wants of the rules.
struct Filter {
    alerting: bool,
    recording: bool,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    matchers: Vec<Vec<Matcher>>,
    exclude_alerts: bool,
}

impl Filter {
    fn new(params: &Params, app: &App) -> Result<Self, ApiError> {
        let matchers = params
            .selectors(&app.patterns)
            .map_err(|error| ApiError::new(ErrorKind::BadData, error.to_string()))?;
        let kind = params.get("type").to_ascii_lowercase();
        if !matches!(&*kind, "" | "alert" | "record") {
            return Err(ApiError::parameter(
                "type",
                format!("not supported value {kind:?}"),
            ));
        }
        let exclude_alerts = params.optional("exclude_alerts", |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing {text:?}: invalid syntax"
            )),
        })?;
        let all = |name| params.all(name).map(str::to_owned).collect();
        Ok(Filter {
            alerting: kind != "record",
            recording: kind != "alert",
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            matchers,
            exclude_alerts: exclude_alerts.unwrap_or(false),
        })
    }

    fn has_group(&self, group: &GroupView) -> bool {
        let fits = |wanted: &[String], value: &String| wanted.is_empty() || wanted.contains(value);
        fits(&self.groups, &group.name) && fits(&self.files, &group.file)
    }

    fn has_rule(&self, rule: &RuleView) -> bool {
        let kind = if rule.alerting.is_some() {
            self.alerting
        } else {
            self.recording
        };
        let named = self.names.is_empty() || self.names.contains(&rule.name);
        let labels = promql::Labels::new(rule.labels.clone());
        let matched = self.matchers.is_empty()
            || self
                .matchers
                .iter()
                .any(|set| set.iter().all(|m| m.matches_labels(&labels)));
        kind && named && matched
    }

    /// Groups with the rules that are wanted; a filter of names or labels leaves out groups without any.
    fn apply<'a>(&self, groups: &'a [Arc<GroupView>]) -> Vec<(&'a GroupView, Vec<&'a RuleView>)> {
        let narrowed = !self.names.is_empty() || !self.matchers.is_empty();
        groups
            .iter()
            .filter(|group| self.has_group(group))
            .map(|group| {
                (
                    &**group,
                    group
                        .rules
                        .iter()
                        .filter(|rule| self.has_rule(rule))
                        .collect::<Vec<_>>(),
                )
            })
            .filter(|(_, rules)| !narrowed || !rules.is_empty())
            .collect()
    }
}

/// The groups of a page, and the token of the next one.
type Cut<'a, T> = (Vec<(&'a GroupView, T)>, Option<String>);

/// A page of groups.
struct Page {
    limit: Option<usize>,
    after: String,
}

impl Page {
    fn new(params: &Params) -> Result<Self, ApiError> {
        let limit = params.optional("group_limit", |text| match text.parse::<i64>() {
            Ok(limit) if limit > 0 => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
            Ok(_) => Err("group_limit needs to be greater than 0".to_owned()),
            Err(_) => Err(format!(
                "group_limit needs to be a valid number: strconv.ParseInt: parsing {text:?}: invalid syntax"
            )),
        })?;
        let after = params.get("group_next_token").to_owned();
        if limit.is_none() && !after.is_empty() {
            let reason = "group_limit needs to be present in order to paginate over the groups";
            return Err(ApiError::parameter("group_next_token", reason));
        }
        Ok(Page { limit, after })
    }

    /// Names a group for the page after it, as Prometheus does: SHA-1 of file and name.
    fn token(group: &GroupView) -> String {
        let text = format!("{};{}", group.file, group.name);
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The groups of the page, and the token of the next one.
    fn cut<'a, T>(&self, mut all: Vec<(&'a GroupView, T)>) -> Result<Cut<'a, T>, ApiError> {
        if !self.after.is_empty() {
            let found = all.iter().position(|(group, _)| Page::token(group) == self.after);
            let Some(found) = found else {
                let reason = format!(
                    "invalid group_next_token '{}'. were rule groups changed?",
                    self.after
                );
                return Err(ApiError::new(ErrorKind::BadData, reason));
            };
            all.drain(..=found);
        }
        let Some(limit) = self.limit.filter(|limit| all.len() > *limit) else {
            return Ok((all, None));
        };
        all.truncate(limit);
        let token = all.last().map(|(group, _)| Page::token(group));
        Ok((all, token))
    }
}

/// GET `rules`.
pub(crate) async fn rules(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let (filter, page) = (Filter::new(&params, &app)?, Page::new(&params)?);
    let groups = app.rules.of(params.tenant());
    let (groups, next) = page.cut(filter.apply(&groups))?;
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"groups\":");
        json::list(out, &groups, |out, (view, rules)| {
            group(out, view, rules, filter.exclude_alerts)
        });
        if let Some(token) = &next {
            out.extend_from_slice(b",\"groupNextToken\":");
            json::text(out, token);
        }
        out.push(b'}');
    };
    Ok(Success::new(data, &[], &[]))
}

fn group(out: &mut Vec<u8>, view: &GroupView, rules: &[&RuleView], exclude_alerts: bool) {
    out.extend_from_slice(b"{\"name\":");
    json::text(out, &view.name);
    out.extend_from_slice(b",\"file\":");
    json::text(out, &view.file);
    out.extend_from_slice(b",\"rules\":");
    json::list(out, rules, |out, view| rule(out, view, exclude_alerts));
    out.extend_from_slice(b",\"interval\":");
    json::time(out, view.interval_ms);
    // A `Vec` takes everything that is written.
    let _ = write!(out, ",\"limit\":{}", view.limit);
    evaluation(out, view.evaluation_seconds, view.last_evaluation_ms);
    out.push(b'}');
}

fn evaluation(out: &mut Vec<u8>, seconds: f64, at_ms: Option<i64>) {
    let at = at_ms.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339_of);
    let _ = write!(out, ",\"evaluationTime\":{seconds},\"lastEvaluation\":\"{at}\"");
}

fn rule(out: &mut Vec<u8>, view: &RuleView, exclude_alerts: bool) {
    out.push(b'{');
    if let Some(alerting) = &view.alerting {
        let _ = write!(out, "\"state\":\"{}\",", alerting.state.as_str());
    }
    out.extend_from_slice(b"\"name\":");
    json::text(out, &view.name);
    out.extend_from_slice(b",\"query\":");
    json::text(out, &view.query);
    if let Some(alerting) = &view.alerting {
        out.extend_from_slice(b",\"duration\":");
        json::time(out, alerting.for_ms);
        out.extend_from_slice(b",\"keepFiringFor\":");
        json::time(out, alerting.keep_firing_for_ms);
    }
    if view.alerting.is_some() || !view.labels.is_empty() {
        out.extend_from_slice(b",\"labels\":");
        json::labels(out, view.labels.iter().map(|(name, value)| (&**name, &**value)));
    }
    if let Some(alerting) = &view.alerting {
        details(out, alerting, exclude_alerts);
    }
    let _ = write!(out, ",\"health\":\"{}\"", view.health.as_str());
    if let Some(error) = &view.last_error {
        out.extend_from_slice(b",\"lastError\":");
        json::text(out, error);
    }
    evaluation(out, view.evaluation_seconds, view.last_evaluation_ms);
    let kind = if view.alerting.is_some() {
        "alerting"
    } else {
        "recording"
    };
    let _ = write!(out, ",\"type\":\"{kind}\"}}");
}

fn details(out: &mut Vec<u8>, alerting: &AlertingView, exclude_alerts: bool) {
    out.extend_from_slice(b",\"annotations\":");
    json::labels(
        out,
        alerting
            .annotations
            .iter()
            .map(|(name, value)| (&**name, &**value)),
    );
    out.extend_from_slice(b",\"alerts\":");
    match exclude_alerts {
        // As Prometheus has it.
        true => out.extend_from_slice(b"null"),
        false => json::list(out, &alerting.alerts, alert),
    }
}

fn alert(out: &mut Vec<u8>, view: &AlertView) {
    out.extend_from_slice(b"{\"labels\":");
    json::labels(out, view.labels.iter());
    out.extend_from_slice(b",\"annotations\":");
    json::labels(
        out,
        view.annotations.iter().map(|(name, value)| (&**name, &**value)),
    );
    let at = rfc3339_of(view.active_at_ms);
    let _ = write!(
        out,
        ",\"state\":\"{}\",\"activeAt\":\"{at}\"",
        view.state.as_str()
    );
    if let Some(since_ms) = view.keep_firing_since_ms {
        let _ = write!(out, ",\"keepFiringSince\":\"{}\"", rfc3339_of(since_ms));
    }
    let _ = write!(out, ",\"value\":\"{}\"}}", promql::format_exponent(view.value));
}

/// GET `alerts`.
pub(crate) async fn alerts(State(app): State<App>, params: Params) -> Success {
    let groups = app.rules.of(params.tenant());
    let rules = groups.iter().flat_map(|group| &group.rules);
    let active: Vec<&AlertView> = rules
        .filter_map(|rule| rule.alerting.as_ref())
        .flat_map(|alerting| &alerting.alerts)
        .filter(|alert| alert.state != AlertState::Inactive)
        .collect();
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"alerts\":");
        json::list(out, &active, |out, view| alert(out, view));
        out.push(b'}');
    };
    Success::new(data, &[], &[])
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
    let lists = BTreeMap::from([("activeAlertmanagers", active), ("droppedAlertmanagers", dropped)]);
    let data = |out: &mut Vec<u8>| {
        for (n, (key, urls)) in lists.iter().enumerate() {
            out.push(if n == 0 { b'{' } else { b',' });
            json::text(out, key);
            out.push(b':');
            json::list(out, urls, |out, url| {
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
