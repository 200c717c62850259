//! `/api/v1/series`, `labels` and `label/<name>/values`.

use std::sync::Arc;

use axum::extract::{Path, State};
use promql::{Matcher, ParseError};
use wire::{Labels, Tenant};

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::evaluate;
use super::json;
use super::params::Params;
use super::source::for_store;
use super::time::{MAX_MS, MIN_MS};
use crate::admission::Queue;

/// A metadata request, ready to be looked up.
struct Lookup {
    app: App,
    tenant: Tenant,
    selectors: Vec<Vec<Matcher>>,
    start_ms: i64,
    end_ms: i64,
    limit: Option<usize>,
}

impl Lookup {
    /// `refuse` words what is wrong with a selector, as Prometheus does here and there.
    fn new(app: App, params: &Params, refuse: fn(ParseError) -> ApiError) -> Result<Self, ApiError> {
        let limit = params.limit()?;
        let start_ms = params.time_or("start", MIN_MS)?;
        let end_ms = params.time_or("end", MAX_MS)?;
        let selectors = params.selectors(&app.patterns).map_err(refuse)?;
        Ok(Lookup {
            app,
            tenant: params.tenant().clone(),
            selectors,
            start_ms,
            end_ms,
            limit,
        })
    }

    /// Runs on a blocking thread under the queries' deadline.
    async fn run<T: AsRef<str>>(
        self,
        find: impl FnOnce(&Self) -> Vec<T> + Send + 'static,
    ) -> Result<Success, ApiError> {
        let app = self.app.clone();
        evaluate(&app, Queue::Api, app.config.query_timeout, move |_| {
            Ok(self.answer(find(&self), |out, s| json::text(out, s.as_ref())))
        })
        .await
    }

    fn answer<T>(&self, found: Vec<T>, write: impl FnMut(&mut Vec<u8>, T)) -> Success {
        let truncated = self.limit.is_some_and(|limit| found.len() > limit);
        let warning = truncated.then(|| "results truncated due to limit".to_owned());
        let shown = found.into_iter().take(self.limit.unwrap_or(usize::MAX));
        Success::new(|out| json::list(out, shown, write), warning.as_slice(), &[])
    }

    /// The union over all selectors, or over the one that matches everything; `find` gives what is in order.
    fn union<T: Ord>(&self, find: impl Fn(&[store::Matcher]) -> Vec<T>) -> Vec<T> {
        let first = self.selectors.first().map(|matchers| for_store(matchers));
        let mut found = find(&first.unwrap_or_default());
        for matchers in self.selectors.iter().skip(1) {
            found.append(&mut find(&for_store(matchers)));
        }
        if self.selectors.len() > 1 {
            found.sort();
            found.dedup();
        }
        found
    }
}

impl Lookup {
    /// Whether a time is given, so that the index of names, which has none, does not answer it.
    fn is_bounded(&self) -> bool {
        self.start_ms != MIN_MS || self.end_ms != MAX_MS
    }

    fn in_range(&self, matchers: &[store::Matcher]) -> Vec<Labels> {
        let store = &self.app.store;
        store.series(&self.tenant, matchers, self.start_ms, self.end_ms)
    }

    fn names(&self, matchers: &[store::Matcher]) -> Vec<String> {
        if !self.is_bounded() {
            return self.app.store.label_names(&self.tenant, matchers);
        }
        let store = &self.app.store;
        store.label_names_between(&self.tenant, matchers, self.start_ms, self.end_ms)
    }

    fn values(&self, name: &str, matchers: &[store::Matcher]) -> Vec<Arc<str>> {
        if !self.is_bounded() {
            return self.app.store.label_values(&self.tenant, name, matchers);
        }
        let store = &self.app.store;
        store.label_values_between(&self.tenant, name, matchers, self.start_ms, self.end_ms)
    }
}

/// GET or POST `series`.
pub(crate) async fn series(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    params.limit()?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::new(ErrorKind::BadData, "no match[] parameter provided"));
    }
    let refuse = |error| ApiError::parameter("match[]", error);
    let lookup = Lookup::new(app.clone(), &params, refuse)?;
    evaluate(&app, Queue::Api, app.config.query_timeout, move |_| {
        let found: Vec<Labels> = lookup.union(|m| lookup.in_range(m));
        Ok(lookup.answer(found, |out, set| json::labels(out, set.iter())))
    })
    .await
}

/// GET or POST `labels`.
pub(crate) async fn label_names(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let lookup = Lookup::new(app, &params, plainly)?;
    lookup.run(|l| l.union(|m| l.names(m))).await
}

/// GET `label/<name>/values`.
pub(crate) async fn label_values(
    State(app): State<App>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Success, ApiError> {
    let name = match unescape(&name) {
        name if name.is_empty() => {
            return Err(ApiError::new(
                ErrorKind::BadData,
                format!("invalid label name: {name:?}"),
            ));
        }
        name => name,
    };
    let lookup = Lookup::new(app, &params, plainly)?;
    lookup.run(move |l| l.union(|m| l.values(&name, m))).await
}

fn plainly(error: ParseError) -> ApiError {
    ApiError::new(ErrorKind::BadData, error.to_string())
}

/// `U__…` spells any UTF-8 name: `__` is an underscore, `_<hex>_` a code point.
fn unescape(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut plain = String::new();
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('_') {
        plain.push_str(before);
        let Some((hex, tail)) = after.split_once('_') else {
            return name.to_owned();
        };
        match (hex, u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)) {
            ("", _) => plain.push('_'),
            (_, Some(c)) if hex.len() <= 6 => plain.push(c),
            _ => return name.to_owned(),
        }
        rest = tail;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escaped_label_names_are_read_and_others_left_alone() {
        assert_eq!(unescape("job"), "job");
        assert_eq!(unescape("U__a_2e_b__c"), "a.b_c");
        assert_eq!(unescape("U__a_zz_b"), "U__a_zz_b");
        assert_eq!(unescape("U__a_b"), "U__a_b");
    }
}
