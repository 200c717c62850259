//! Floats as Go's `strconv.FormatFloat(value, format, -1, 64)` writes them: the fewest digits that read back as the same
//! f64, `NaN`, `+Inf`, `-Inf`.
//!
//! Of two candidates that are equally near, Go takes the one whose last digit is even; the digits come from zmij, which
//! does so too, and not from Rust's own printing, which does not.

/// Prints a sample value: format `f`, never with an exponent.
pub fn format_value(value: f64) -> String {
    match Decimal::of(value) {
        Ok(decimal) => decimal.plain(),
        Err(text) => text.to_owned(),
    }
}

/// Prints a number in format `g`: with an exponent below 1e-4 and from 1e6 on.
pub fn format_general(value: f64) -> String {
    match Decimal::of(value) {
        Ok(decimal) if (-4..6).contains(&decimal.exponent) => decimal.plain(),
        Ok(decimal) => decimal.scientific(),
        Err(text) => text.to_owned(),
    }
}

/// Prints a number in format `e`: always with an exponent.
pub fn format_exponent(value: f64) -> String {
    match Decimal::of(value) {
        Ok(decimal) => decimal.scientific(),
        Err(text) => text.to_owned(),
    }
}

/// The digits of a finite number: `-0.0125` is `125` with exponent -2, the power of ten of the first digit.
struct Decimal {
    is_negative: bool,
    /// At least one; neither the first nor the last is 0 but of zero itself.
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// The text of what is no finite number is the error.
    fn of(value: f64) -> Result<Self, &'static str> {
        if value.is_nan() {
            return Err("NaN");
        }
        if value.is_infinite() {
            return Err(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let zeros = all.len() - significant.len();
        let digits = significant.trim_end_matches('0');
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let is_zero = digits.is_empty();
        Ok(Self {
            is_negative: value.is_sign_negative(),
            digits: if is_zero { "0" } else { digits }.to_owned(),
            exponent: if is_zero {
                0
            } else {
                exponent + whole.len() as i32 - 1 - zeros as i32
            },
        })
    }

    fn sign(&self) -> &'static str {
        if self.is_negative { "-" } else { "" }
    }

    fn plain(&self) -> String {
        let (sign, digits) = (self.sign(), &self.digits);
        let before_point = self.exponent + 1;
        if before_point <= 0 {
            let zeros = "0".repeat(before_point.unsigned_abs() as usize);
            return format!("{sign}0.{zeros}{digits}");
        }
        match digits.split_at_checked(before_point as usize) {
            Some((whole, "")) => format!("{sign}{whole}"),
            Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
            None => format!("{sign}{digits:0<width$}", width = before_point as usize),
        }
    }

    fn scientific(&self) -> String {
        let (first, rest) = self.digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign_of_exponent = if self.exponent < 0 { '-' } else { '+' };
        let exponent = self.exponent.unsigned_abs();
        format!(
            "{}{first}{point}{rest}e{sign_of_exponent}{exponent:02}",
            self.sign()
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_print_as_go_prints_them() {
        for (value, plain, general, exponent) in [
            (0.0, "0", "0", "0e+00"),
            (-0.0, "-0", "-0", "-0e+00"),
            (0.1, "0.1", "0.1", "1e-01"),
            (-1.5, "-1.5", "-1.5", "-1.5e+00"),
            (864_298.0, "864298", "864298", "8.64298e+05"),
            (1e6, "1000000", "1e+06", "1e+06"),
            (
                123_456_789.25,
                "123456789.25",
                "1.2345678925e+08",
                "1.2345678925e+08",
            ),
            (0.000_25, "0.00025", "0.00025", "2.5e-04"),
            (0.000_012, "0.000012", "1.2e-05", "1.2e-05"),
            (1e-7, "0.0000001", "1e-07", "1e-07"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21"),
            (-2e100, &format!("-2{}", "0".repeat(100)), "-2e+100", "-2e+100"),
            (f64::NAN, "NaN", "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
        ] {
            assert_eq!(format_value(value), plain);
            assert_eq!(format_general(value), general);
            assert_eq!(format_exponent(value), exponent);
        }
    }

    /// Half way between two numbers of 17 digits; what Go prints.
    #[test]
    #[expect(clippy::excessive_precision, reason = "the exact values, which are ties")]
    fn of_two_that_are_equally_near_the_even_one_is_printed() {
        assert_eq!(format_value(182_713_810_658_717.625), "182713810658717.62");
        assert_eq!(format_value(182_713_810_658_717.375), "182713810658717.38");
        assert_eq!(format_value(-1_125_899_906_842_625.25), "-1125899906842625.2");
        assert_eq!(format_value(1_125_899_906_842_625.75), "1125899906842625.8");
    }

    proptest! {
        #[test]
        fn any_number_reads_back_from_no_more_digits_than_rust_prints(bits in any::<u64>(), thousandths in -9_999_999i64..9_999_999) {
            for number in [f64::from_bits(bits), thousandths as f64 / 1000.0, thousandths as f64 * 1e9] {
                if number.is_finite() {
                    let texts = [format_value(number), format_general(number), format_exponent(number)];
                    for text in &texts {
                        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
                    }
                    prop_assert_eq!(texts[0].len(), number.to_string().len());
                }
            }
        }
    }
}
