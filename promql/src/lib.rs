//! A PromQL engine without I/O: parse a query, then evaluate it against a [`SeriesSource`].
//!
//! The engine has no clock and no runtime, and no threads but those that a caller lends it. A caller gives it a parsed
//! [`Plan`], the evaluation times, a source of series and an [`Options`], and gets an [`Answer`]. What bounds a query (its
//! bytes and nesting, the samples it may hold, its deadline) is checked here; what time it is, is the caller's affair.
//!
//! [`parse()`] takes what Prometheus takes without feature flags, [`parse_with`] what [`ParseOptions`] say. A plan can be
//! shown: [`format()`] is Prometheus's `format_query`, [`parse_tree_json`] its `parse_query`, and an [`Expr`] prints
//! itself on one line.
//!
//! ```
//! use promql::{eval_instant, parse, Options, QueryValue};
//! # use promql::{Hints, Matcher, Series, SeriesSource, SourceError};
//! # struct Empty;
//! # impl SeriesSource for Empty {
//! #     fn select(&self, _: &[Matcher], _: &Hints) -> Result<Vec<Series>, SourceError> { Ok(Vec::new()) }
//! # }
//! let plan = parse("1 + 2 * 3").expect("a valid query");
//! let answer = eval_instant(&plan, 0, &Empty, &Options::default()).expect("no data is read");
//! assert!(matches!(answer.value, QueryValue::Scalar { value: 7.0, .. }));
//! ```

mod ast;
mod duration;
mod error;
mod eval;
mod features;
mod float;
mod histogram;
mod labels;
mod matcher;
mod memory;
pub mod notation;
mod number;
mod parse;
mod series;

pub use ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, DurationExpr, Expr, Function, Grouping,
    Matching, Matrix, Number, Paren, Plan, Selector, Span, Subquery, Text, Unary, ValueType, format,
    parse_tree_json,
};
pub use duration::{DurationError, format_duration, parse_duration};
pub use error::{EvalError, ParseError, SourceError};
pub use eval::{
    Answer, ExplainedNode, InstantSample, Interrupt, NodeCounts, Options, QueryValue, RangeSeries, Trace,
    eval_instant, eval_range,
};
pub use features::{Features, UnknownFeature};
pub use float::{format_exponent, format_general, format_value};
pub use histogram::{Bucket, Buckets, CUSTOM_SCHEMA, CounterReset, Histogram, LayoutError};
pub use labels::{Labels, METRIC_NAME, format_pairs};
pub use matcher::{MatchOp, Matcher, MatcherError, PatternCache, compile_anchored, compile_search};
pub use memory::{MemoryBudget, MemoryPool, OverBudget};
pub use number::go_quote;
pub use parse::{
    MAX_NESTING, MAX_QUERY_BYTES, ParseOptions, parse, parse_cached, parse_selector, parse_selector_cached,
    parse_with,
};
pub use series::{Batches, Hints, STALE_NAN_BITS, Samples, Series, SeriesSource, Times, is_stale, stale_nan};
