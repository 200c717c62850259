//! Parts of a date, UTC, proleptic Gregorian. Values are Unix seconds, cut to whole ones.

use crate::ast::{Call, Function};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Column, Row};
use crate::labels::Labels;

const DAY_SECONDS: i64 = 86_400;

/// A date of the calendar.
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// The date of a day counted from 1970-01-01, by eras of 400 years that begin in March.
fn date_of(days: i64) -> Date {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    Date {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * march_month + 2) / 5 + 1,
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

const MONTH_DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn days_in(year: i64, month: i64) -> i64 {
    let leap_day = i64::from(month == 2 && is_leap(year));
    usize::try_from(month - 1)
        .ok()
        .and_then(|m| MONTH_DAYS.get(m))
        .copied()
        .unwrap_or(0)
        + leap_day
}

fn day_of_year(date: &Date) -> i64 {
    (1..date.month)
        .map(|month| days_in(date.year, month))
        .sum::<i64>()
        + date.day
}

/// The part of a date that a function gives, if it gives one.
pub(super) fn part(function: Function) -> Option<fn(i64) -> i64> {
    fn date(seconds: i64) -> Date {
        date_of(seconds.div_euclid(DAY_SECONDS))
    }
    Some(match function {
        Function::Minute => |s| s.rem_euclid(3_600) / 60,
        Function::Hour => |s| s.rem_euclid(DAY_SECONDS) / 3_600,
        // 1970-01-01 was a Thursday.
        Function::DayOfWeek => |s| (s.div_euclid(DAY_SECONDS) + 4).rem_euclid(7),
        Function::DayOfMonth => |s| date(s).day,
        Function::DayOfYear => |s| day_of_year(&date(s)),
        Function::DaysInMonth => |s| {
            let date = date(s);
            days_in(date.year, date.month)
        },
        Function::Month => |s| date(s).month,
        Function::Year => |s| date(s).year,
        _ => return None,
    })
}

/// Whole seconds of a value. What Go cannot convert (NaN, infinities, too large) becomes the end of its scale there, a
/// Sunday, 292277026596-12-04 15:30; so it does here.
fn whole_seconds(value: f64) -> i64 {
    let scale = -(i64::MIN as f64);
    if value >= -scale && value < scale {
        value as i64
    } else {
        i64::MAX
    }
}

impl Evaluator<'_> {
    pub(super) fn date_part(
        &mut self,
        call: &Call,
        grid: Grid,
        part: fn(i64) -> i64,
    ) -> Result<Vec<Row>, EvalError> {
        let rows = match call.args.first() {
            Some(argument) => self.vector(argument, grid)?,
            None => {
                self.hold(grid.len() as u64)?;
                let now = grid.times_ms().map(|ms| ms as f64 / 1000.0).collect();
                vec![Row {
                    labels: Labels::default(),
                    drop_name: false,
                    cells: Column::full(now),
                }]
            }
        };
        self.map_rows(rows, |_, value| Some(part(whole_seconds(value)) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar_across_leap_years_and_eras() {
        let get = |function: Function, seconds: i64| part(function).unwrap()(seconds);
        // 2024-02-29 23:59:59, a Thursday
        let leap = 1_709_251_199;
        assert_eq!(get(Function::DayOfMonth, leap), 29);
        assert_eq!(get(Function::DaysInMonth, leap), 29);
        assert_eq!(get(Function::DayOfYear, leap), 60);
        assert_eq!(get(Function::DayOfWeek, leap), 4);
        assert_eq!((get(Function::Hour, leap), get(Function::Minute, leap)), (23, 59));
        // 1969-12-31 and 1900-03-01 (1900 was no leap year)
        assert_eq!((get(Function::Year, -1), get(Function::Month, -1)), (1969, 12));
        assert_eq!(get(Function::DayOfYear, -2_203_891_200), 60);
        let end = whole_seconds(f64::NAN);
        assert_eq!(
            (get(Function::Year, end), get(Function::Minute, end)),
            (292_277_026_596, 30)
        );
    }
}
