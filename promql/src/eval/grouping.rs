//! Which series belong together: keys of label sets under `by`/`without` and `on`/`ignoring`.

use std::collections::HashMap;

use crate::ast::Grouping;
use crate::labels::{Labels, METRIC_NAME};

/// Whether a label takes part in a grouping. The metric name does only if named.
fn takes_part(grouping: &Grouping, name: &str) -> bool {
    match grouping {
        Grouping::Only(names) => names.iter().any(|n| n == name),
        Grouping::Without(names) => name != METRIC_NAME && !names.iter().any(|n| n == name),
    }
}

/// The labels of a group that a series falls into.
pub(crate) fn group_labels(grouping: &Grouping, labels: &Labels) -> Labels {
    labels.filtered(|name| takes_part(grouping, name))
}

/// Numbers groups of series in order of first appearance.
#[derive(Default)]
pub(crate) struct GroupIndex {
    numbers: HashMap<Vec<u8>, usize>,
    key: Vec<u8>,
}

impl GroupIndex {
    /// Writes the key of a series: its labels that take part, each length-prefixed, so that no two sets collide.
    fn write_key(&mut self, grouping: &Grouping, labels: &Labels) {
        self.key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| takes_part(grouping, name)) {
            for part in [name, value] {
                self.key.extend_from_slice(&(part.len() as u64).to_le_bytes());
                self.key.extend_from_slice(part.as_bytes());
            }
        }
    }

    /// The number of a series' group; a new one if it is the first of its group.
    pub(crate) fn number(&mut self, grouping: &Grouping, labels: &Labels) -> usize {
        self.write_key(grouping, labels);
        if let Some(number) = self.numbers.get(&self.key) {
            return *number;
        }
        let number = self.numbers.len();
        self.numbers.insert(self.key.clone(), number);
        number
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}
