//! Parameters of a request: the query string, and the form of a POST before it, as Go's `FormValue` looks them up.

use axum::extract::{Form, FromRequest, Query, Request};
use axum::http::{Extensions, HeaderMap, Method};
use promql::{Matcher, ParseError, PatternCache};
use wire::Tenant;

use super::envelope::{ApiError, ErrorKind};
use super::time;
use crate::web::Access;

/// The headers that name a tenant.
const TENANT_HEADERS: [&str; 2] = ["thanos-tenant", "x-scope-orgid"];

/// The parameters and the tenant of a request.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    /// As a header names it.
    named: Option<Tenant>,
    tenant: Tenant,
    access: Access,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let access = access_of(request.extensions());
        let named = named_tenant(request.headers())?;
        let tenant = tenant_of(request.headers(), &access)?;
        let uri = request.uri().clone();
        let is_form = request.method() == Method::POST && request.headers().contains_key("content-type");
        let mut pairs = Vec::new();
        if is_form {
            Form(pairs) = Form::from_request(request, state).await.map_err(unreadable)?;
        }
        let Query(of_uri) = Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(unreadable)?;
        pairs.extend(of_uri);
        Ok(Params {
            pairs,
            named,
            tenant,
            access,
        })
    }
}

fn unreadable(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::BadData, format!("error parsing form values: {error}"))
}

/// What the principal of a request may see; nothing if nobody said.
pub(super) fn access_of(extensions: &Extensions) -> Access {
    extensions.get().cloned().unwrap_or(Access::Tenants(Vec::new()))
}

/// The tenant that a request is for.
pub(super) fn tenant_of(headers: &HeaderMap, access: &Access) -> Result<Tenant, ApiError> {
    match named_tenant(headers)? {
        Some(tenant) => allowed(tenant, access),
        None => access.unnamed().ok_or_else(|| {
            let reason = "tenant: name one that you may see by X-Scope-OrgID or THANOS-TENANT";
            ApiError::new(ErrorKind::Forbidden, reason)
        }),
    }
}

/// A tenant, if it may be named.
pub(super) fn allowed(tenant: Tenant, access: &Access) -> Result<Tenant, ApiError> {
    match access.allows(&tenant) {
        true => Ok(tenant),
        false => Err(ApiError::new(
            ErrorKind::Forbidden,
            format!("tenant: {tenant} is not for you to see; `tenants` of --web.config.file says what is"),
        )),
    }
}

fn named_tenant(headers: &HeaderMap) -> Result<Option<Tenant>, ApiError> {
    let bad = |error: &dyn std::fmt::Display| ApiError::new(ErrorKind::BadData, format!("tenant: {error}"));
    let mut named: Option<&str> = None;
    for header in TENANT_HEADERS {
        for value in headers.get_all(header) {
            let text = value.to_str().map_err(|e| bad(&e))?;
            if named.is_some_and(|other| other != text) {
                return Err(bad(&"THANOS-TENANT and X-Scope-OrgID name different ones"));
            }
            named = Some(text);
        }
    }
    named.map(Tenant::new).transpose().map_err(|e| bad(&e))
}

impl Params {
    /// The tenant that the request may see.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The tenant, if a header names one.
    pub(crate) fn named_tenant(&self) -> Option<&Tenant> {
        self.named.as_ref()
    }

    /// What the principal may see.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Refuses who may not see the whole site.
    pub(crate) fn for_site(&self) -> Result<(), ApiError> {
        match self.access {
            Access::All => Ok(()),
            Access::Tenants(_) => {
                let reason = "this concerns every tenant; `tenants` of --web.config.file can say \"*\"";
                Err(ApiError::new(ErrorKind::Forbidden, reason))
            }
        }
    }

    /// The first value of a parameter, or `""`.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.pairs
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is given and not empty, read by `read`.
    pub(crate) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => read(text)
                .map(Some)
                .map_err(|reason| ApiError::parameter(name, reason)),
        }
    }

    /// A time that has a default, Unix ms.
    pub(crate) fn time_or(&self, name: &str, default_ms: i64) -> Result<i64, ApiError> {
        let read = |text: &str| {
            time::parse_time(text).map_err(|reason| format!("invalid time value for '{name}': {reason}"))
        };
        Ok(self.optional(name, read)?.unwrap_or(default_ms))
    }

    /// A time that must be given, Unix ms.
    pub(crate) fn time(&self, name: &str) -> Result<i64, ApiError> {
        time::parse_time(self.get(name)).map_err(|reason| ApiError::parameter(name, reason))
    }

    /// `limit`: how many entries to answer; `None`: all.
    pub(crate) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let read = |text: &str| match text.parse::<i64>() {
            Ok(n) => usize::try_from(n).map_err(|_| "limit must be non-negative".to_owned()),
            Err(_) => Err(format!("strconv.Atoi: parsing {text:?}: invalid syntax")),
        };
        Ok(self.optional("limit", read)?.filter(|n| *n > 0))
    }

    /// `match[]`: selectors.
    pub(crate) fn selectors(&self, cache: &PatternCache) -> Result<Vec<Vec<Matcher>>, ParseError> {
        let parse = |text| promql::parse_selector_cached(text, cache);
        self.all("match[]").map(parse).collect()
    }
}
