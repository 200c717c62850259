//! Windows: hours that begin at a multiple of an hour since the epoch.

/// Length of a window, ms.
pub(crate) const WINDOW_MS: i64 = 3_600_000;

/// Length of a day, ms; days are merged from windows.
pub(crate) const DAY_MS: i64 = 24 * WINDOW_MS;

/// An hour of sample times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Window(i64);

impl Window {
    /// The window that holds a time, ms since the epoch.
    pub(crate) fn of(time_ms: i64) -> Self {
        Window(time_ms.div_euclid(WINDOW_MS))
    }

    /// Its first time, ms since the epoch.
    pub(crate) fn start_ms(self) -> i64 {
        self.0.saturating_mul(WINDOW_MS)
    }

    /// The first time after it, ms since the epoch.
    pub(crate) fn end_ms(self) -> i64 {
        self.start_ms().saturating_add(WINDOW_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        for time in [-1, 0, 1, WINDOW_MS - 1, WINDOW_MS, -WINDOW_MS, 1_795_000_000_000] {
            let window = Window::of(time);
            assert!(window.start_ms() <= time && time < window.end_ms());
            assert_eq!(Window::of(window.start_ms()), window);
            assert!(Window::of(window.end_ms()) > window);
        }
    }
}
