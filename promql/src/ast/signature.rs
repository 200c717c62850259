//! What each function takes and gives.

use super::Function;

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// A number per time.
    Scalar,
    /// A text.
    String,
    /// Series with one value per time.
    Vector,
    /// Series with a window of samples per time.
    Matrix,
}

impl ValueType {
    /// Its name in Prometheus's API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }

    /// Its name in Prometheus's messages.
    pub(crate) fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// What a function takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Types of its arguments; the last one's holds for all that follow.
    pub(crate) args: &'static [ValueType],
    /// 0: exactly these arguments. n: the last one may be missing, or there may be up to n of them. -1: any number of
    /// the last one.
    pub(crate) variadic: i8,
    /// What it gives.
    pub(crate) returns: ValueType,
}

impl Function {
    /// Whether it needs Prometheus's feature `promql-experimental-functions`.
    pub fn is_experimental(self) -> bool {
        matches!(
            self,
            Self::DoubleExponentialSmoothing
                | Self::FirstOverTime
                | Self::Info
                | Self::MadOverTime
                | Self::SortByLabel
                | Self::SortByLabelDesc
                | Self::TsOfFirstOverTime
                | Self::TsOfLastOverTime
                | Self::TsOfMaxOverTime
                | Self::TsOfMinOverTime
        )
    }

    pub(crate) fn signature(self) -> Signature {
        use Function as F;
        use ValueType::{Matrix, Scalar, String, Vector};
        let (args, variadic): (&'static [ValueType], i8) = match self {
            F::Pi | F::Time => (&[], 0),
            F::Vector => (&[Scalar], 0),
            F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::DaysInMonth
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year => (&[Vector], 1),
            F::Clamp => (&[Vector, Scalar, Scalar], 0),
            F::ClampMax | F::ClampMin => (&[Vector, Scalar], 0),
            F::Round => (&[Vector, Scalar], 1),
            F::HistogramFraction => (&[Scalar, Scalar, Vector], 0),
            F::HistogramQuantile => (&[Scalar, Vector], 0),
            F::Info => (&[Vector, Vector], 1),
            F::LabelJoin => (&[Vector, String, String, String], -1),
            F::LabelReplace => (&[Vector, String, String, String, String], 0),
            F::SortByLabel | F::SortByLabelDesc => (&[Vector, String], -1),
            F::DoubleExponentialSmoothing => (&[Matrix, Scalar, Scalar], 0),
            F::PredictLinear => (&[Matrix, Scalar], 0),
            F::QuantileOverTime => (&[Scalar, Matrix], 0),
            F::Changes | F::Delta | F::Deriv | F::Idelta | F::Increase | F::Irate | F::Rate | F::Resets => {
                (&[Matrix], 0)
            }
            other if other.name().ends_with("_over_time") => (&[Matrix], 0),
            _ => (&[Vector], 0),
        };
        let returns = if matches!(self, F::Pi | F::Time | F::Scalar) {
            Scalar
        } else {
            Vector
        };
        Signature {
            args,
            variadic,
            returns,
        }
    }
}
