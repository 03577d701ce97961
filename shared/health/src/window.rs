//! Time windows of uptime.

/// A time range that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Hour,
    Day,
    Week,
    Month,
    /// Of status pages only: longer than results are kept. Sums of days are.
    Quarter,
}

impl Window {
    pub const ALL: [Window; 4] = [Window::Hour, Window::Day, Window::Week, Window::Month];

    pub fn parse(text: &str) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Window::Hour => "1h",
            Window::Day => "24h",
            Window::Week => "7d",
            Window::Month => "30d",
            Window::Quarter => "90d",
        }
    }

    pub fn ms(self) -> i64 {
        match self {
            Window::Hour => 3_600_000,
            Window::Day => 24 * 3_600_000,
            Window::Week => 7 * 24 * 3_600_000,
            Window::Month => 30 * 24 * 3_600_000,
            Window::Quarter => 90 * 24 * 3_600_000,
        }
    }

    /// Returns the width of a bucket of the series: 12 to 31 buckets per window. Whole hours, or less than
    /// one.
    pub fn bucket_ms(self) -> i64 {
        match self {
            Window::Hour => 5 * 60_000,
            Window::Day => 3_600_000,
            Window::Week => 6 * 3_600_000,
            Window::Month | Window::Quarter => 24 * 3_600_000,
        }
    }

    /// Returns the first millisecond of the window that ends at `now_ms` (included).
    pub fn start_ms(self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.ms()).saturating_add(1)
    }

    /// Whether a row lies in the window that ends at `now_ms`.
    pub fn contains(self, slot_ms: i64, now_ms: i64) -> bool {
        (self.start_ms(now_ms)..=now_ms).contains(&slot_ms)
    }
}
