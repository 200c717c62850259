//! What functions know of the rendering that calls them.
//!
//! gtmpl-ng's functions are plain `fn`s without a place for data, so a rendering lends them what they need through its
//! thread, and takes it back at its end.

use std::cell::RefCell;
use std::collections::HashMap;

use gtmpl_ng::{FuncError, Value};
use promql::compile_search;
use regex::Regex;

/// Bytes that the functions of one rendering may handle.
pub(super) const MAX_WORK: usize = 4 << 20;
/// What compiling a pattern counts for, per byte of it.
const WORK_PER_PATTERN_BYTE: usize = 256;
/// What any call counts for.
const WORK_PER_CALL: usize = 64;

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// One rendering's data.
#[derive(Debug, Default)]
pub(super) struct Scope {
    external_url: String,
    /// Queries and what they gave.
    pub(super) answers: HashMap<String, Result<Value, String>>,
    /// A query that has no answer yet.
    pub(super) wanted: Option<String>,
    patterns: HashMap<String, Regex>,
    work: usize,
}

impl Scope {
    pub(super) fn new(external_url: &str, answers: HashMap<String, Result<Value, String>>) -> Self {
        Self {
            external_url: external_url.to_owned(),
            answers,
            ..Self::default()
        }
    }

    /// Runs a rendering that sees this scope.
    pub(super) fn around<T>(self, render: impl FnOnce() -> T) -> (T, Self) {
        /// Puts back what was there, also when a rendering panics.
        struct Restore(Option<Scope>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let outer = Restore(CURRENT.replace(Some(self)));
        let rendered = render();
        let scope = CURRENT.take().unwrap_or_default();
        drop(outer);
        (rendered, scope)
    }
}

fn with<T>(use_it: impl FnOnce(&mut Scope) -> T) -> T {
    CURRENT.with_borrow_mut(|scope| use_it(scope.get_or_insert_default()))
}

/// Counts a call that handles so many bytes.
pub(super) fn charge(bytes: usize) -> Result<(), FuncError> {
    with(|scope| {
        scope.work = scope.work.saturating_add(WORK_PER_CALL).saturating_add(bytes);
        match scope.work > MAX_WORK {
            true => Err(FuncError::Generic(format!(
                "its functions handle more than {MAX_WORK} bytes"
            ))),
            false => Ok(()),
        }
    })
}

pub(super) fn external_url() -> String {
    with(|scope| scope.external_url.clone())
}

/// The answer to a query, or an error that ends the rendering until there is one.
pub(super) fn answer(query: &str) -> Result<Value, FuncError> {
    with(|scope| match scope.answers.get(query) {
        Some(answer) => answer.clone().map_err(FuncError::Generic),
        None => {
            scope.wanted = Some(query.to_owned());
            Err(FuncError::Generic("the query has no answer yet".to_owned()))
        }
    })
}

/// A compiled pattern.
pub(super) fn pattern(pattern: &str) -> Result<Regex, FuncError> {
    if let Some(known) = with(|scope| scope.patterns.get(pattern).cloned()) {
        return Ok(known);
    }
    charge(pattern.len().saturating_mul(WORK_PER_PATTERN_BYTE))?;
    let compiled = compile_search(pattern).map_err(|error| FuncError::Generic(error.to_string()))?;
    with(|scope| scope.patterns.insert(pattern.to_owned(), compiled.clone()));
    Ok(compiled)
}
