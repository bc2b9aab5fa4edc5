//! The date that templates write: one for all judgments of a judge, so that the same request gives the same prompt.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest date that a template may write.
const MAX_BYTES: usize = 4096;

/// A day, at midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    year: i64,
    month: u8,
    day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    /// Today, in UTC.
    pub(crate) fn today() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self::of_days(i64::try_from(seconds / 86_400).unwrap_or(0))
    }

    /// Reads `2026-01-31`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part =
                parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()));
            part.and_then(|part| part.parse::<u16>().ok())
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        let date = Self { year: year.into(), month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? };
        // The way to days and back changes a day that is not there.
        let known = (1..=12).contains(&month) && Self::of_days(date.days()) == date;
        (parts.next().is_none() && known).then_some(date)
    }

    /// The day that is this many days after 1 January 1970.
    fn of_days(days: i64) -> Self {
        let (year, month, day) = crate::date::civil(days);
        Self { year, month, day }
    }

    /// Days after 1 January 1970.
    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = i64::from(self.month);
        let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
    }

    fn day_of_year(self) -> i64 {
        self.days() - Self { year: self.year, month: 1, day: 1 }.days() + 1
    }

    /// Python's `strftime` on this day at midnight.
    ///
    /// # Errors
    /// A message naming a code that is not known, or that the date gets too long.
    pub(crate) fn format(self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if text.len() > MAX_BYTES {
                return Err(format!("a date of more than {MAX_BYTES} bytes"));
            }
            if letter != '%' {
                text.push(letter);
                continue;
            }
            let mut code = letters.next();
            // glibc's: without leading zeros.
            let bare = code == Some('-');
            if bare {
                code = letters.next();
            }
            self.write(&mut text, code, bare)?;
        }
        Ok(text)
    }

    fn write(self, text: &mut String, code: Option<char>, bare: bool) -> Result<(), String> {
        let weekday = (self.days() + 4).rem_euclid(7);
        let (month, name) = (MONTHS[usize::from(self.month) - 1], DAYS[usize::try_from(weekday).unwrap_or(0)]);
        let mut number = |value: i64, width: usize| {
            let written = if bare { write!(text, "{value}") } else { write!(text, "{value:0width$}") };
            written.map_err(|error| error.to_string())
        };
        match code {
            Some('d') => number(self.day.into(), 2),
            Some('m') => number(self.month.into(), 2),
            Some('Y') => number(self.year, 1),
            Some('y') => number(self.year.rem_euclid(100), 2),
            Some('j') => number(self.day_of_year(), 3),
            Some('H' | 'M' | 'S') => number(0, 2),
            Some('I') => number(12, 2),
            Some('f') => number(0, 6),
            Some('w') => number(weekday, 1),
            Some('u') => number(if weekday == 0 { 7 } else { weekday }, 1),
            Some('s') => number(self.days() * 86_400, 1),
            Some('U') => number((self.day_of_year() + 6 - weekday) / 7, 2),
            Some('W') => number((self.day_of_year() + 6 - (weekday + 6) % 7) / 7, 2),
            other => {
                let composed;
                text.push_str(match other {
                    Some('B') => month,
                    Some('b' | 'h') => &month[..3],
                    Some('A') => name,
                    Some('a') => &name[..3],
                    Some('p') => "AM",
                    Some('z') => "+0000",
                    Some('Z') => "UTC",
                    Some('%') => "%",
                    Some('n') => "\n",
                    Some('t') => "\t",
                    Some('F') => {
                        composed = self.format("%Y-%m-%d")?;
                        &composed
                    }
                    Some('D' | 'x') => {
                        composed = self.format("%m/%d/%y")?;
                        &composed
                    }
                    Some('T' | 'X') => "00:00:00",
                    Some('R') => "00:00",
                    Some('e') => {
                        composed = format!("{:2}", self.day);
                        &composed
                    }
                    Some('c') => {
                        composed = format!("{} {} {:2} 00:00:00 {}", &name[..3], &month[..3], self.day, self.year);
                        &composed
                    }
                    Some(letter) => return Err(format!("%{letter} is no code of a date that is known here")),
                    None => return Err("the format of a date ends in %".into()),
                });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_as_the_calendar_does() {
        for (text, days) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-28", 20_785), ("0001-01-01", -719_162)]
        {
            let date = Date::parse(text).expect("a date");
            assert_eq!(date.days(), days, "{text}");
            assert_eq!(Date::of_days(days), date, "{text}");
        }
        for text in
            ["2026-02-29", "2026-13-01", "2026-00-10", "2026-1-01", "26-01-01", "2026-01-01-01", "", "2026-01-+1"]
        {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_written_as_python_writes_them() {
        let date = Date::parse("2026-03-07").expect("a date");
        let written = date.format("%Y-%m-%d|%d %b %Y|%B %-d|%A %a %y %j %U %W %w %u|%H:%M:%S|%%|%e|%c|%x %X|%F");
        assert_eq!(
            written.as_deref(),
            Ok(
                "2026-03-07|07 Mar 2026|March 7|Saturday Sat 26 066 09 09 6 6|00:00:00|%| 7|Sat Mar  7 00:00:00 2026|03/07/26 \
                00:00:00|2026-03-07"
            )
        );
        assert!(date.format("%Q").is_err_and(|error| error.contains("%Q")));
        assert!(date.format("%").is_err());
        assert!(date.format(&"x".repeat(MAX_BYTES + 2)).is_err());
    }
}
