//! The days of an app with records, newest first, according to its counters. Days without counters cost
//! nothing. Counters are read as needed.

use std::collections::VecDeque;

use crate::logbook::counters::{CounterKey, Stats};
use crate::model::app::App;
use crate::model::fault::Fault;
use crate::model::level::LevelCounts;
use crate::model::time::Day;

/// Counter rows of the first page and of the largest page.
const FIRST_PAGE: u32 = 24;
const LARGEST_PAGE: u32 = 768;

/// A day with its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DayCount {
    pub day: Day,
    pub levels: LevelCounts,
}

/// The days of one app.
pub(crate) struct DayCursor<'a> {
    app: &'a App,
    from: Day,
    to: Day,
    /// Expired records are not counted.
    now_ms: i64,
    limit: u32,
    after: Option<CounterKey>,
    at_end: bool,
    /// Days whose rows are all read. The last day may still have rows on the next page; it waits in `open`.
    ready: VecDeque<DayCount>,
    open: Option<DayCount>,
    pub units: f64,
    pub pages: u32,
}

impl<'a> DayCursor<'a> {
    pub(crate) fn new(app: &'a App, from: Day, to: Day, now_ms: i64) -> Self {
        Self {
            app,
            from,
            to,
            now_ms,
            limit: FIRST_PAGE,
            after: None,
            at_end: from > to,
            ready: VecDeque::new(),
            open: None,
            units: 0.0,
            pages: 0,
        }
    }

    /// Returns the next day without removing it; `None` if there is none.
    pub(crate) async fn peek(&mut self, stats: &impl Stats) -> Result<Option<DayCount>, Fault> {
        while self.ready.is_empty() && !self.at_end {
            self.fetch(stats).await?;
        }
        Ok(self.ready.front().copied())
    }

    pub(crate) fn take(&mut self) -> Option<DayCount> {
        self.ready.pop_front()
    }

    async fn fetch(&mut self, stats: &impl Stats) -> Result<(), Fault> {
        let page = stats.newest(&self.app.app_id, self.from, self.to, self.limit, self.after).await?;
        self.units += page.read_units;
        self.pages += 1;
        self.limit = (self.limit * 4).min(LARGEST_PAGE);
        for row in page.rows.iter().filter(|row| row.key.registered_ms == self.app.registered_ms) {
            match &mut self.open {
                Some(open) if open.day == row.key.day => open.levels += row.counts.alive(self.now_ms).levels,
                open => {
                    let counted = DayCount { day: row.key.day, levels: row.counts.alive(self.now_ms).levels };
                    self.ready.extend(open.replace(counted));
                }
            }
        }
        self.at_end = page.next.is_none();
        self.after = page.next;
        if self.at_end {
            self.ready.extend(self.open.take());
        }
        Ok(())
    }
}
