//! Hours, days and months of a time zone, as moments.

use jiff::{ToSpan as _, Zoned, tz::TimeZone};

use crate::clock::Timestamp;

/// A span of time: from `start` until before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// A calendar in one time zone. Days are as long as they are there: 23 or 25 hours where clocks change.
#[derive(Debug, Clone)]
pub(crate) struct Calendar(TimeZone);

impl Calendar {
    /// By the zone of that IANA name; by UTC if there is none.
    pub(crate) fn of(zone: &str) -> Self {
        Self(TimeZone::get(zone).unwrap_or(TimeZone::UTC))
    }

    /// The day around a moment.
    pub(crate) fn day(&self, at: Timestamp) -> Option<Span> {
        let start = self.zoned(at)?.start_of_day().ok()?;
        let end = start.tomorrow().ok()?.start_of_day().ok()?;
        Some(Span { start: moment(&start), end: moment(&end) })
    }

    /// The month around a moment.
    pub(crate) fn month(&self, at: Timestamp) -> Option<Span> {
        let start = self.zoned(at)?.first_of_month().ok()?.start_of_day().ok()?;
        let end = start.checked_add(1.month()).ok()?.start_of_day().ok()?;
        Some(Span { start: moment(&start), end: moment(&end) })
    }

    /// When the hour around a moment began, as clocks there show it.
    pub(crate) fn hour(&self, at: Timestamp) -> Option<Timestamp> {
        let here = self.zoned(at)?;
        let into = i64::from(here.minute()) * 60 + i64::from(here.second());
        Some(Timestamp::from_seconds(at.as_seconds() - into))
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_microsecond(at.as_micros()).ok()?.to_zoned(self.0.clone()))
    }
}

fn moment(at: &Zoned) -> Timestamp {
    Timestamp::from_micros(at.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn span(start: &str, end: &str) -> Span {
        Span { start: at(start), end: at(end) }
    }

    #[test]
    fn days_are_as_long_as_the_clocks_there_make_them() {
        for (zone, moment, day) in [
            ("UTC", "2026-03-29T12:00:00Z", span("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z")),
            ("Europe/Vienna", "2026-03-29T12:00:00Z", span("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")),
            ("Europe/Vienna", "2026-10-25T00:00:00Z", span("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")),
            ("Asia/Kathmandu", "2026-01-01T18:14:59.9Z", span("2025-12-31T18:15:00Z", "2026-01-01T18:15:00Z")),
            // Midnight does not come on the day that clocks go forward at it.
            ("America/Santiago", "2026-09-06T12:00:00Z", span("2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z")),
            // A whole day that was left out.
            ("Pacific/Apia", "2011-12-30T09:59:59Z", span("2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z")),
            ("No/Such", "2026-03-29T12:00:00Z", span("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z")),
        ] {
            assert_eq!(Calendar::of(zone).day(at(moment)), Some(day), "{zone} {moment}");
        }
    }

    #[test]
    fn months_begin_and_end_at_midnight_there() {
        for (zone, moment, month) in [
            ("UTC", "2026-02-28T23:59:59Z", span("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")),
            ("America/New_York", "2026-03-01T04:59:59Z", span("2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z")),
            ("America/New_York", "2026-03-31T12:00:00Z", span("2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z")),
            ("Europe/Vienna", "2026-12-31T23:00:00Z", span("2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z")),
        ] {
            assert_eq!(Calendar::of(zone).month(at(moment)), Some(month), "{zone} {moment}");
        }
    }

    #[test]
    fn hours_begin_when_the_clocks_there_say_so() {
        for (zone, moment, hour) in [
            ("UTC", "2026-01-01T10:59:59.999999Z", "2026-01-01T10:00:00Z"),
            ("Asia/Kolkata", "2026-01-01T10:29:59Z", "2026-01-01T09:30:00Z"),
            ("Asia/Kathmandu", "2026-01-01T10:15:00Z", "2026-01-01T10:15:00Z"),
            ("Europe/Vienna", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z"),
        ] {
            assert_eq!(Calendar::of(zone).hour(at(moment)), Some(at(hour)), "{zone} {moment}");
        }
    }

    #[test]
    fn a_day_is_the_same_from_each_of_its_moments_and_the_next_begins_at_its_end() {
        for zone in ["UTC", "Europe/Vienna", "America/Santiago", "Asia/Kathmandu", "Australia/Lord_Howe"] {
            let calendar = Calendar::of(zone);
            let mut day = calendar.day(at("2026-01-01T12:00:00Z")).unwrap();
            for _ in 0..400 {
                for moment in [day.start, Timestamp::from_micros(day.end.as_micros() - 1)] {
                    assert_eq!(calendar.day(moment), Some(day), "{zone}");
                }
                let next = calendar.day(day.end).unwrap();
                assert_eq!(next.start, day.end, "{zone}");
                day = next;
            }
        }
    }
}
