//! Features of Prometheus that change what a query may say or means, by the names of its `--enable-feature`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::parse::ParseOptions;

const EXPERIMENTAL_FUNCTIONS: &str = "promql-experimental-functions";
const DURATION_EXPRESSIONS: &str = "promql-duration-expr";
const DELAYED_NAME_REMOVAL: &str = "promql-delayed-name-removal";

/// What a user has enabled; the default is nothing, as in Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// What is understood.
    pub parse: ParseOptions,
    /// Metric names are dropped at the end of a query, see [`Options`](crate::Options).
    pub delayed_name_removal: bool,
}

/// A feature that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown feature {0:?}; there are {EXPERIMENTAL_FUNCTIONS}, {DURATION_EXPRESSIONS} and {DELAYED_NAME_REMOVAL}"
)]
pub struct UnknownFeature(String);

impl FromStr for Features {
    type Err = UnknownFeature;

    /// Names with commas between them; an empty text enables nothing.
    fn from_str(names: &str) -> Result<Self, Self::Err> {
        let mut features = Self::default();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                EXPERIMENTAL_FUNCTIONS => features.parse.experimental_functions = true,
                DURATION_EXPRESSIONS => features.parse.duration_expressions = true,
                DELAYED_NAME_REMOVAL => features.delayed_name_removal = true,
                other => return Err(UnknownFeature(other.to_owned())),
            }
        }
        Ok(features)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let enabled = [
            (self.parse.experimental_functions, EXPERIMENTAL_FUNCTIONS),
            (self.parse.duration_expressions, DURATION_EXPRESSIONS),
            (self.delayed_name_removal, DELAYED_NAME_REMOVAL),
        ];
        let names: Vec<&str> = enabled
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_enabled_by_name() {
        let features: Features = "promql-duration-expr, promql-delayed-name-removal"
            .parse()
            .unwrap();
        assert!(features.parse.duration_expressions && features.delayed_name_removal);
        assert!(!features.parse.experimental_functions);
        assert_eq!(features.to_string().parse(), Ok(features));
        assert_eq!("".parse(), Ok(Features::default()));
        let error = "native-histograms".parse::<Features>().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("there are promql-experimental-functions")
        );
    }
}
