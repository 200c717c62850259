//! label_replace and label_join.

use crate::ast::{Call, Expr, Function};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, reject_duplicates};
use crate::labels::METRIC_NAME;
use crate::matcher::re2::compile_anchored;

use super::argument;

/// Sets or removes a label. A name that was set on purpose is not dropped at the end.
fn set_label(row: &mut Row, name: &str, value: &str) {
    row.labels = row.labels.with(name, value);
    if name == METRIC_NAME {
        row.drop_name = false;
    }
}

impl Evaluator<'_> {
    /// A label's name: any text in UTF-8 but the empty one.
    fn label_name(&self, expr: &Expr, function: Function, role: &str) -> Result<String, EvalError> {
        let bytes = self.bytes(expr)?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(EvalError::Execution(format!(
                "invalid {role} label name in {}(): {}",
                function.name(),
                String::from_utf8_lossy(bytes)
            ))),
        }
    }

    pub(super) fn label_replace(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let target = argument(call, 1)?;
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
        let target = self.label_name(target, call.function, "destination")?;
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
        let target = argument(call, 1)?;
        let separator = self.text(argument(call, 2)?)?;
        let sources: Vec<String> = call
            .args
            .iter()
            .skip(3)
            .map(|source| self.label_name(source, call.function, "source"))
            .collect::<Result<_, _>>()?;
        let target = self.label_name(target, call.function, "destination")?;
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
