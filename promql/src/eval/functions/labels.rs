//! label_replace and label_join.

use crate::ast::{Call, Function};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, reject_duplicates};
use crate::labels::METRIC_NAME;
use crate::matcher::re2::compile_anchored;

use super::argument;

/// Labels may have any UTF-8 name but the empty one.
fn check_name(name: &str, function: Function, which: &str) -> Result<(), EvalError> {
    if name.is_empty() {
        let function = function.name();
        return Err(EvalError::Execution(format!(
            "invalid {which} label name in {function}(): {name}"
        )));
    }
    Ok(())
}

/// Sets or removes a label. A name that was set on purpose is not dropped at the end.
fn set_label(row: &mut Row, name: &str, value: &str) {
    row.labels = row.labels.with(name, value);
    if name == METRIC_NAME {
        row.drop_name = false;
    }
}

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let target = self.text(argument(call, 1)?)?;
        let replacement = self.text(argument(call, 2)?)?;
        let source = self.text(argument(call, 3)?)?;
        let pattern = self.text(argument(call, 4)?)?;
        // The argument first: of nested calls, only one pattern is in memory at a time.
        let mut rows = self.vector(argument(call, 0)?, grid)?;
        let regex = compile_anchored(&pattern).map_err(|_| {
            EvalError::Execution(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
        check_name(&target, call.function, "destination")?;
        for row in &mut rows {
            let Some(captures) = regex.captures(row.labels.get(&source)) else {
                continue;
            };
            let mut value = String::new();
            captures.expand(&replacement, &mut value);
            set_label(row, &target, &value);
        }
        reject_duplicates(&rows)?;
        Ok(rows)
    }

    pub(super) fn label_join(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let target = self.text(argument(call, 1)?)?;
        let separator = self.text(argument(call, 2)?)?;
        let sources: Vec<String> = call
            .args
            .iter()
            .skip(3)
            .map(|source| self.text(source))
            .collect::<Result<_, _>>()?;
        for source in &sources {
            check_name(source, call.function, "source")?;
        }
        check_name(&target, call.function, "destination")?;
        let mut rows = self.vector(argument(call, 0)?, grid)?;
        for row in &mut rows {
            let values: Vec<&str> = sources.iter().map(|source| row.labels.get(source)).collect();
            let value = values.join(&separator);
            set_label(row, &target, &value);
        }
        reject_duplicates(&rows)?;
        Ok(rows)
    }
}
