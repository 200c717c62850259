//! Aggregations that take values one by one: memory is groups times steps, whatever the number of series.

use super::{are_mixed, rows_of_groups};
use crate::ast::{Aggregate, AggregateOp, Grouping};
use crate::error::EvalError;
use crate::eval::batches::Halt;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::grouping::{GroupIndex, group_labels};
use crate::eval::kahan::{Mean, Sum};
use crate::eval::rows::{Column, Row};
use crate::labels::Labels;

/// The state of one group at one time.
pub(super) trait Accumulator: Clone + Default {
    fn add(&mut self, value: f64);
    /// Adds what another one was given, after what this one was.
    fn join(&mut self, later: &Self);
    /// The group's value; `None` if nothing was added.
    fn finish(&self) -> Option<f64>;
}

/// What a group amounts to at each time.
enum Group<A> {
    /// Of one series its values are enough.
    One(Column),
    Many(Vec<A>),
}

impl<A: Accumulator> Group<A> {
    /// The states, for whoever adds to them.
    fn many(&mut self, evaluator: &mut Evaluator<'_>, steps: usize) -> Result<&mut Vec<A>, EvalError> {
        if let Group::One(cells) = self {
            hold::<A>(evaluator, steps)?;
            let mut states = vec![A::default(); steps];
            for (index, value) in cells.present() {
                states[index].add(value);
            }
            *self = Group::Many(states);
        }
        match self {
            Group::Many(states) => Ok(states),
            Group::One(_) => unreachable!("it was made into many"),
        }
    }

    fn into_cells(self) -> Column {
        match self {
            Group::One(mut cells) => {
                cells.update(|_, value| {
                    let mut state = A::default();
                    state.add(value);
                    state.finish()
                });
                cells
            }
            Group::Many(states) => {
                let mut cells = Column::empty(states.len());
                for (index, state) in states.iter().enumerate() {
                    if let Some(value) = state.finish() {
                        cells.set(index, value);
                    }
                }
                cells
            }
        }
    }
}

/// Groups in order of appearance.
struct Folded<'g, A> {
    grouping: &'g Grouping,
    steps: usize,
    index: GroupIndex,
    labels: Vec<(Labels, bool)>,
    groups: Vec<Group<A>>,
}

impl<'g, A: Accumulator> Folded<'g, A> {
    fn new(grouping: &'g Grouping, steps: usize) -> Self {
        Folded {
            grouping,
            steps,
            index: GroupIndex::default(),
            labels: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Adds every cell to its group and time.
    fn add(&mut self, evaluator: &mut Evaluator<'_>, rows: Vec<Row>) -> Result<(), EvalError> {
        for row in rows {
            let number = self.index.number(self.grouping, &row.labels);
            if let Some(group) = self.groups.get_mut(number) {
                let states = group.many(evaluator, self.steps)?;
                for (index, value) in row.cells.present() {
                    states[index].add(value);
                }
                continue;
            }
            hold::<f64>(evaluator, self.steps)?;
            let labels = group_labels(self.grouping, &row.labels);
            self.labels.push((labels, row.drop_name));
            self.groups.push(Group::One(row.cells));
        }
        Ok(())
    }

    fn join(&mut self, evaluator: &mut Evaluator<'_>, later: Self) -> Result<(), EvalError> {
        let of_groups = later.labels.into_iter().zip(later.groups);
        for (labels, later) in of_groups {
            let number = self.index.number(self.grouping, &labels.0);
            let Some(group) = self.groups.get_mut(number) else {
                match &later {
                    Group::One(_) => hold::<f64>(evaluator, self.steps)?,
                    Group::Many(_) => hold::<A>(evaluator, self.steps)?,
                }
                self.labels.push(labels);
                self.groups.push(later);
                continue;
            };
            let states = group.many(evaluator, self.steps)?;
            match later {
                Group::One(cells) => cells
                    .present()
                    .for_each(|(index, value)| states[index].add(value)),
                Group::Many(later) => {
                    let both = states.iter_mut().zip(&later);
                    both.for_each(|(state, later)| state.join(later));
                }
            }
        }
        Ok(())
    }

    fn into_rows(self) -> Vec<Row> {
        rows_of_groups(self.labels, self.groups.into_iter().map(Group::into_cells))
    }
}

/// Counts states that are held from now on.
fn hold<A>(evaluator: &mut Evaluator<'_>, states: usize) -> Result<(), EvalError> {
    evaluator.hold_bytes(states as u64, (states * size_of::<A>()) as u64)
}

impl Evaluator<'_> {
    /// Folds the values of an aggregation's operand, batch by batch.
    pub(super) fn fold<A: Accumulator + Send>(
        &mut self,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<Vec<Row>, EvalError> {
        // Sums of histograms are another matter.
        let adds = matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Avg);
        let (grouping, steps) = (&aggregate.grouping, grid.len());
        let mut folded = Folded::<A>::new(grouping, steps);
        let outcome = self.in_parts(
            &aggregate.expr,
            grid,
            |batch, mut rows| {
                if are_mixed(&rows) {
                    if adds {
                        return Err(Halt::Unfit(rows));
                    }
                    batch.without_histograms(aggregate, &mut rows);
                }
                let mut part = Folded::new(grouping, steps);
                part.add(batch, rows)?;
                Ok(part)
            },
            |this, part| folded.join(this, part),
        );
        match outcome {
            Ok(()) => Ok(folded.into_rows()),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Unfit(rows)) => self.fold_histograms(aggregate, &rows, grid),
            Err(Halt::AllAtOnce) => self.fold_all_at_once::<A>(aggregate, grid),
        }
    }

    fn fold_all_at_once<A: Accumulator>(
        &mut self,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let mut rows = self.all_at_once(&aggregate.expr, grid)?;
        if are_mixed(&rows) {
            if matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Avg) {
                return self.fold_histograms(aggregate, &rows, grid);
            }
            self.without_histograms(aggregate, &mut rows);
        }
        let mut folded = Folded::<A>::new(&aggregate.grouping, grid.len());
        folded.add(self, rows)?;
        Ok(folded.into_rows())
    }
}

/// `sum`: compensated, so that the order of series hardly matters.
#[derive(Clone, Default)]
pub(super) struct SumOf(Option<Sum>);

impl Accumulator for SumOf {
    fn add(&mut self, value: f64) {
        self.0 = Some(match self.0 {
            Some(sum) => sum.plus(value),
            None => Sum {
                sum: value,
                lost: 0.0,
            },
        });
    }

    fn join(&mut self, later: &Self) {
        self.0 = match (self.0, later.0) {
            (Some(sum), Some(later)) => Some(sum.join(later)),
            (sum, later) => sum.or(later),
        };
    }

    fn finish(&self) -> Option<f64> {
        self.0.map(Sum::total)
    }
}

/// `avg`.
#[derive(Clone, Default)]
pub(super) struct MeanOf(Mean);

impl Accumulator for MeanOf {
    fn add(&mut self, value: f64) {
        self.0 = self.0.plus(value);
    }

    fn join(&mut self, later: &Self) {
        self.0 = self.0.join(later.0);
    }

    fn finish(&self) -> Option<f64> {
        self.0.value()
    }
}

/// `count`.
#[derive(Clone, Default)]
pub(super) struct CountOf(u64);

impl Accumulator for CountOf {
    fn add(&mut self, _: f64) {
        self.0 += 1;
    }

    fn join(&mut self, later: &Self) {
        self.0 += later.0;
    }

    fn finish(&self) -> Option<f64> {
        (self.0 > 0).then_some(self.0 as f64)
    }
}

/// `group`.
#[derive(Clone, Default)]
pub(super) struct PresenceOf(bool);

impl Accumulator for PresenceOf {
    fn add(&mut self, _: f64) {
        self.0 = true;
    }

    fn join(&mut self, later: &Self) {
        self.0 |= later.0;
    }

    fn finish(&self) -> Option<f64> {
        self.0.then_some(1.0)
    }
}

/// `min`: NaN only if there is nothing else.
#[derive(Clone, Default)]
pub(super) struct MinOf(Option<f64>);

impl Accumulator for MinOf {
    fn add(&mut self, value: f64) {
        if self.0.is_none_or(|least| least > value || least.is_nan()) {
            self.0 = Some(value);
        }
    }

    fn join(&mut self, later: &Self) {
        later.0.into_iter().for_each(|value| self.add(value));
    }

    fn finish(&self) -> Option<f64> {
        self.0
    }
}

/// `max`: NaN only if there is nothing else.
#[derive(Clone, Default)]
pub(super) struct MaxOf(Option<f64>);

impl Accumulator for MaxOf {
    fn add(&mut self, value: f64) {
        if self
            .0
            .is_none_or(|greatest| greatest < value || greatest.is_nan())
        {
            self.0 = Some(value);
        }
    }

    fn join(&mut self, later: &Self) {
        later.0.into_iter().for_each(|value| self.add(value));
    }

    fn finish(&self) -> Option<f64> {
        self.0
    }
}

/// `stdvar`: population variance by Welford's method.
#[derive(Clone, Default)]
pub(super) struct VarianceOf {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Accumulator for VarianceOf {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// As Chan, Golub and LeVeque put two variances together.
    fn join(&mut self, later: &Self) {
        if self.count == 0.0 || later.count == 0.0 {
            if self.count == 0.0 {
                *self = later.clone();
            }
            return;
        }
        let count = self.count + later.count;
        let delta = later.mean - self.mean;
        self.squares += later.squares + delta * delta * (self.count * later.count / count);
        self.mean += delta * (later.count / count);
        self.count = count;
    }

    fn finish(&self) -> Option<f64> {
        (self.count > 0.0).then_some(self.squares / self.count)
    }
}

/// `stddev`.
#[derive(Clone, Default)]
pub(super) struct DeviationOf(VarianceOf);

impl Accumulator for DeviationOf {
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn join(&mut self, later: &Self) {
        self.0.join(&later.0);
    }

    fn finish(&self) -> Option<f64> {
        self.0.finish().map(f64::sqrt)
    }
}
