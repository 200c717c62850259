//! Bytes that queries may hold: each of them, and all that share a pool.
//!
//! What is counted is about what is held: 16 bytes a sample, 8 a cell, the states of aggregations, and something for each
//! series and its labels. Room is asked for before it is used, so that a query that is too large is refused and takes
//! nobody else's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// Which limit has no room, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OverBudget {
    /// That of one query.
    #[error(
        "the query would hold more than {} of memory, its limit (--query.max-bytes): select fewer series, a shorter range or \
         a longer step, or raise the limit",
        Bytes(*limit)
    )]
    Query {
        /// The limit, bytes.
        limit: u64,
    },
    /// That of all queries.
    #[error(
        "all queries together would hold more than {} of memory, their limit (--query.max-total-bytes): try again later, \
         lower --query.max-concurrency, or raise the limit",
        Bytes(*limit)
    )]
    All {
        /// The limit, bytes.
        limit: u64,
    },
}

/// Bytes as a person reads them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 => write!(f, "{} MiB", bytes >> 20),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// What all queries of a kind may hold together.
#[derive(Debug)]
pub struct MemoryPool {
    limit: u64,
    held: AtomicU64,
}

impl MemoryPool {
    /// A pool of so many bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(MemoryPool {
            limit,
            held: AtomicU64::new(0),
        })
    }

    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

/// What one query may hold. What it still holds at its end goes back to the pool.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: u64,
    held: AtomicU64,
    most: AtomicU64,
    pool: Arc<MemoryPool>,
}

impl MemoryBudget {
    /// A budget of at most so many bytes of a pool.
    pub fn new(limit: u64, pool: Arc<MemoryPool>) -> Self {
        MemoryBudget {
            limit,
            held: AtomicU64::new(0),
            most: AtomicU64::new(0),
            pool,
        }
    }

    /// Takes room for so many bytes.
    ///
    /// # Errors
    /// The limit that has none; then nothing is taken.
    pub fn take(&self, bytes: u64) -> Result<(), OverBudget> {
        let Some(held) = add_below(&self.held, bytes, self.limit) else {
            return Err(OverBudget::Query { limit: self.limit });
        };
        if add_below(&self.pool.held, bytes, self.pool.limit).is_none() {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(OverBudget::All {
                limit: self.pool.limit,
            });
        }
        self.most.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back bytes that were taken.
    pub fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most bytes that were held at once.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        let held = *self.held.get_mut();
        self.pool.held.fetch_sub(held, Ordering::Relaxed);
    }
}

/// The new count, unless it exceeds a limit.
fn add_below(count: &AtomicU64, more: u64, limit: u64) -> Option<u64> {
    let add = |now: u64| now.checked_add(more).filter(|sum| *sum <= limit);
    let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    before.ok().map(|before| before + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_for_each_query_and_for_all() {
        let pool = MemoryPool::new(100);
        let (a, b) = (
            MemoryBudget::new(70, pool.clone()),
            MemoryBudget::new(70, pool.clone()),
        );
        assert_eq!(a.take(71), Err(OverBudget::Query { limit: 70 }));
        assert_eq!(a.take(60), Ok(()));
        assert_eq!(b.take(60), Err(OverBudget::All { limit: 100 }));
        assert_eq!((b.take(40), pool.held()), (Ok(()), 100));
        a.give_back(10);
        assert_eq!((b.take(10), b.most()), (Ok(()), 50));
        drop(a);
        assert_eq!(pool.held(), 50);
        drop(b);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn refusals_name_the_limit_and_its_flag() {
        let text = OverBudget::Query { limit: 3 << 20 }.to_string();
        assert!(
            text.contains("3 MiB") && text.contains("--query.max-bytes"),
            "{text}"
        );
        assert!(OverBudget::All { limit: 10 }.to_string().contains("10 bytes"));
    }
}
