//! A PromQL engine without I/O.
