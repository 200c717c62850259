//! Expressions that go series by series, evaluated a batch of series at a time, on several threads if the caller allows.
//!
//! A batch is read, evaluated and made into a part of the result by whoever is free; parts are put together in the order
//! of their batches. What the batches are is the source's choice and does not depend on threads, so neither does the
//! result, to the last bit. Memory is the result, and of each thread a batch and a few parts that wait for their turn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::ast::Expr;
use crate::error::{EvalError, SourceError};
use crate::labels::{METADATA, METRIC_NAME};
use crate::matcher::Matcher;
use crate::series::{Batches, Hints, Series, SeriesSource};

use super::evaluator::{Evaluator, Held};
use super::grid::Grid;
use super::notes::Notes;
use super::rows::Row;

mod shape;

use shape::Shape;

/// Parts per thread that may wait for the one before them.
const WAITING: usize = 4;

/// Why there is no part of a batch's rows.
pub(super) enum Halt {
    /// These rows, which are all there are, need another way.
    Unfit(Vec<Row>),
    /// Rows of a batch do; all are to be evaluated at once.
    AllAtOnce,
    Failed(EvalError),
}

impl From<EvalError> for Halt {
    fn from(error: EvalError) -> Self {
        Halt::Failed(error)
    }
}

/// Asks the source for batches in the place of series. What is small comes whole, as if nobody had asked.
struct Opener<'s> {
    source: &'s dyn SeriesSource,
    opened: RefCell<Option<(Box<dyn Batches + 's>, Hints)>>,
}

impl SeriesSource for Opener<'_> {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        match self.source.batches(matchers, hints)? {
            None => self.source.select(matchers, hints),
            Some(batches) => {
                *self.opened.borrow_mut() = Some((batches, *hints));
                Ok(Vec::new())
            }
        }
    }
}

/// Gives the series of one batch, once.
struct OneBatch<'b> {
    batches: &'b dyn Batches,
    number: usize,
    read: RefCell<Option<Vec<Series>>>,
}

impl SeriesSource for OneBatch<'_> {
    fn select(&self, _: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        match self.read.borrow_mut().take() {
            Some(series) => Ok(series),
            None => self.batches.read(self.number, hints.max_samples),
        }
    }
}

/// The outcome of a batch, and what there is to note.
type Part<P> = (Result<P, Halt>, Notes);

/// Whether an expression goes series by series.
pub(super) fn goes_by_series(expr: &Expr) -> bool {
    Shape::of(expr).is_some()
}

/// What to do with each batch.
struct Job<'j, W> {
    /// The evaluation that the batches are part of.
    context: super::evaluator::Context<'j>,
    expr: &'j Expr,
    grid: Grid,
    shape: Shape<'j>,
    batches: &'j dyn Batches,
    hints: Hints,
    work: W,
}

impl Evaluator<'_> {
    /// Evaluates a node of type instant vector. `work` makes a part of the result of some of its rows, `join` puts parts
    /// together, which come in a fixed order. Rows that do not fit `work` come back.
    pub(super) fn in_parts<P: Send>(
        &mut self,
        expr: &Expr,
        grid: Grid,
        work: impl Fn(&mut Evaluator<'_>, Vec<Row>) -> Result<P, Halt> + Sync,
        mut join: impl FnMut(&mut Self, P) -> Result<(), EvalError>,
    ) -> Result<(), Halt> {
        let before = self.held;
        let Some(shape) = self.shape_of(expr) else {
            let rows = self.vector(expr, grid)?;
            let part = work(self, rows)?;
            self.release_to(before);
            return Ok(join(self, part)?);
        };
        let opener = Opener {
            source: self.source,
            opened: RefCell::default(),
        };
        let mut inner = self.context().evaluator(&opener);
        let rows = inner.vector(expr, grid);
        let opened = opener.opened.borrow_mut().take();
        let Some((batches, hints)) = opened else {
            let part = rows.map_err(Halt::from).and_then(|rows| work(&mut inner, rows));
            match &part {
                Ok(_) => inner.release_to(Held::default()),
                // Rows that come back are still held.
                Err(_) => self.hold_on(inner.held),
            }
            self.notes.append(inner.notes);
            return Ok(join(self, part?)?);
        };
        rows?;
        let job = Job {
            context: self.context(),
            expr,
            grid,
            shape,
            batches: &*batches,
            hints,
            work,
        };
        let threads = self.options.threads.min(batches.count());
        let mut join = |(part, notes): Part<P>| {
            self.notes.append(notes);
            match part {
                Ok(part) => Ok(join(self, part)?),
                // Of a batch, so these are not all.
                Err(Halt::Unfit(_)) => Err(Halt::AllAtOnce),
                Err(halt) => Err(halt),
            }
        };
        if threads < 2 {
            return (0..batches.count()).try_for_each(|number| join(job.part(number)));
        }
        job.on_threads(threads, join)
    }

    /// The rows of a node, evaluated in batches where it can be; their order is free.
    pub(super) fn rows_in_parts(&mut self, expr: &Expr, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let mut all: Vec<Row> = Vec::new();
        let outcome = self.in_parts(
            expr,
            grid,
            |_, rows| Ok(rows),
            |this, mut rows| {
                this.hold_rows(rows.len(), grid)?;
                match all.is_empty() {
                    true => all = rows,
                    false => all.append(&mut rows),
                }
                Ok(())
            },
        );
        match outcome {
            Ok(()) => Ok(all),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Unfit(rows)) => Ok(rows),
            Err(Halt::AllAtOnce) => self.all_at_once(expr, grid),
        }
    }

    /// The rows of a node of which no part is read in batches.
    pub(super) fn all_at_once(&mut self, expr: &Expr, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let before = std::mem::replace(&mut self.takes_batches, false);
        let rows = self.vector(expr, grid);
        self.takes_batches = before;
        rows
    }

    /// Whether a node is to be evaluated in batches for its own sake. The newest samples of series are as well read at once.
    pub(super) fn goes_in_parts(&self, expr: &Expr, grid: Grid) -> bool {
        let is_plain = matches!(expr.unwrapped(), Expr::Selector(_));
        (grid.len() > 1 || !is_plain) && self.shape_of(expr).is_some()
    }

    fn shape_of<'e>(&self, expr: &'e Expr) -> Option<Shape<'e>> {
        let delayed = self.options.delayed_name_removal;
        let shape = Shape::of(expr).filter(|_| self.takes_batches);
        shape.filter(|shape| delayed || !shape.may_collide())
    }
}

impl<P: Send, W: Fn(&mut Evaluator<'_>, Vec<Row>) -> Result<P, Halt> + Sync> Job<'_, W> {
    fn part(&self, number: usize) -> Part<P> {
        let source = OneBatch {
            batches: self.batches,
            number,
            read: RefCell::default(),
        };
        let mut evaluator = self.context.evaluator(&source);
        let part = self.evaluate(&mut evaluator, &source);
        evaluator.release_to(Held::default());
        (part, evaluator.notes)
    }

    fn evaluate(&self, evaluator: &mut Evaluator<'_>, source: &OneBatch<'_>) -> Result<P, Halt> {
        evaluator.check_interrupt()?;
        let series = self.batches.read(source.number, self.hints.max_samples);
        let series = series.map_err(|error| evaluator.source_error(error))?;
        // Two of one name may differ in what describes the metric, and goes with it.
        let collides = self.shape.drops_names() && !evaluator.options.delayed_name_removal;
        if collides && series.iter().any(is_described) {
            return Err(Halt::AllAtOnce);
        }
        *source.read.borrow_mut() = Some(series);
        let rows = evaluator.vector(self.expr, self.grid)?;
        (self.work)(evaluator, rows)
    }

    /// Works on batches in threads of their own, and joins the parts in this one.
    fn on_threads(
        &self,
        threads: usize,
        mut join: impl FnMut(Part<P>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let count = self.batches.count();
        let turn = Turn::default();
        std::thread::scope(|scope| {
            let (sender, parts) = channel();
            let started = (0..threads).filter(|_| {
                let (sender, turn) = (sender.clone(), &turn);
                let worker = std::thread::Builder::new().name("query".to_owned());
                let worker = worker.spawn_scoped(scope, move || self.work_on(turn, count, threads, &sender));
                worker.is_ok()
            });
            let started = started.count();
            drop(sender);
            // Ends the workers also when a part fails.
            let _end = End(&turn);
            if started == 0 {
                return (0..count).try_for_each(|number| join(self.part(number)));
            }
            let mut waiting: BTreeMap<usize, Part<P>> = BTreeMap::new();
            for next in 0..count {
                let part = loop {
                    if let Some(part) = waiting.remove(&next) {
                        break part;
                    }
                    match parts.recv() {
                        Ok((number, part)) => waiting.insert(number, part),
                        // A worker panicked; the scope tells.
                        Err(_) => return Ok(()),
                    };
                };
                join(part)?;
                turn.advance(next + 1);
            }
            Ok(())
        })
    }

    fn work_on(&self, turn: &Turn, count: usize, threads: usize, parts: &Sender<(usize, Part<P>)>) {
        let unless_it_panics = End(turn);
        while let Some(number) = turn.take(count, threads * WAITING) {
            let part = self.part(number);
            if parts.send((number, part)).is_err() {
                break;
            }
        }
        std::mem::forget(unless_it_panics);
    }
}

/// Which batch comes next, and how many parts are joined.
#[derive(Default)]
struct Turn {
    next: AtomicUsize,
    ended: AtomicBool,
    joined: Mutex<usize>,
    moved: Condvar,
}

impl Turn {
    /// The next batch, as soon as no more than `ahead` parts wait; `None` at the end.
    fn take(&self, count: usize, ahead: usize) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return None;
        }
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        while number >= *joined + ahead && !self.ended.load(Ordering::Acquire) {
            joined = self.moved.wait(joined).unwrap_or_else(PoisonError::into_inner);
        }
        (!self.ended.load(Ordering::Acquire)).then_some(number)
    }

    fn advance(&self, joined: usize) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = joined;
        self.moved.notify_all();
    }
}

/// Lets no worker begin another batch.
struct End<'t>(&'t Turn);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // Under the lock, so that nobody misses it between looking and waiting.
        let _joined = self.0.joined.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.ended.store(true, Ordering::Release);
        self.0.moved.notify_all();
    }
}

/// Whether a series has labels that go with its name.
fn is_described(series: &Series) -> bool {
    let last = METADATA[METADATA.len() - 1];
    let mut first = series.labels.iter().take_while(|(name, _)| *name <= last);
    first.any(|(name, _)| name != METRIC_NAME && METADATA.contains(&name))
}
