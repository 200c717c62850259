//! The functions of Prometheus 3.5, experimental ones included.

macro_rules! functions {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A PromQL function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is named after the function it stands for")]
        pub enum Function { $($variant),+ }

        impl Function {
            /// The function of that name, if Prometheus 3.5 has it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// Its name in PromQL.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

functions! {
    Abs = "abs", Absent = "absent", AbsentOverTime = "absent_over_time", Acos = "acos", Acosh = "acosh",
    Asin = "asin", Asinh = "asinh", Atan = "atan", Atanh = "atanh", AvgOverTime = "avg_over_time",
    Ceil = "ceil", Changes = "changes", Clamp = "clamp", ClampMax = "clamp_max", ClampMin = "clamp_min",
    Cos = "cos", Cosh = "cosh", CountOverTime = "count_over_time", DayOfMonth = "day_of_month",
    DayOfWeek = "day_of_week", DayOfYear = "day_of_year", DaysInMonth = "days_in_month", Deg = "deg",
    Delta = "delta", Deriv = "deriv", DoubleExponentialSmoothing = "double_exponential_smoothing",
    Exp = "exp", FirstOverTime = "first_over_time", Floor = "floor", HistogramAvg = "histogram_avg",
    HistogramCount = "histogram_count", HistogramFraction = "histogram_fraction",
    HistogramQuantile = "histogram_quantile", HistogramStddev = "histogram_stddev",
    HistogramStdvar = "histogram_stdvar", HistogramSum = "histogram_sum", Hour = "hour", Idelta = "idelta",
    Increase = "increase", Info = "info", Irate = "irate", LabelJoin = "label_join",
    LabelReplace = "label_replace", LastOverTime = "last_over_time", Ln = "ln", Log10 = "log10", Log2 = "log2",
    MadOverTime = "mad_over_time", MaxOverTime = "max_over_time", MinOverTime = "min_over_time",
    Minute = "minute", Month = "month", Pi = "pi", PredictLinear = "predict_linear",
    PresentOverTime = "present_over_time", QuantileOverTime = "quantile_over_time", Rad = "rad", Rate = "rate",
    Resets = "resets", Round = "round", Scalar = "scalar", Sgn = "sgn", Sin = "sin", Sinh = "sinh",
    Sort = "sort", SortByLabel = "sort_by_label", SortByLabelDesc = "sort_by_label_desc",
    SortDesc = "sort_desc", Sqrt = "sqrt", StddevOverTime = "stddev_over_time",
    StdvarOverTime = "stdvar_over_time", SumOverTime = "sum_over_time", Tan = "tan", Tanh = "tanh",
    Time = "time", Timestamp = "timestamp", TsOfFirstOverTime = "ts_of_first_over_time",
    TsOfLastOverTime = "ts_of_last_over_time", TsOfMaxOverTime = "ts_of_max_over_time",
    TsOfMinOverTime = "ts_of_min_over_time", Vector = "vector", Year = "year",
}
