//! [core] Times as people read them, in UTC.

/// A moment in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// From 1 on, as the day is.
    pub(super) month: i64,
    pub(super) day: i64,
    /// 0 for 1 January 1970.
    pub(super) days_since_1970: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

impl Date {
    /// So many milliseconds after the beginning of 1970.
    pub(super) fn of(ms: i64) -> Date {
        let seconds = ms.div_euclid(1000);
        let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Counted from a 1 March 400 years' periods begin with, leap days come last.
        let shifted = days + 719_468;
        let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12;
        Date {
            year: year_of_era + era * 400 + i64::from(month < 2),
            month: month + 1,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            days_since_1970: days,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }
}

/// `2023-11-14T22:13:20Z`.
pub(super) fn short(ms: i64) -> String {
    let Date { year, month, day, hour, minute, second, .. } = Date::of(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_700_000_000_999, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(short(ms), expected);
        }
    }
}
