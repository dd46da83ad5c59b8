//! Times in texts. The core has no clock: every time is an argument or a document's.

/// `2025-06-19T10:56:11Z`, in Unix seconds. Universal time only, as Intel writes it.
pub fn rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 20
        && [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')]
            .iter()
            .all(|(at, expected)| bytes.get(*at) == Some(expected));
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month_index = usize::try_from(month.checked_sub(1)?).ok()?;
    let in_range = *lengths.get(month_index)? >= day && day >= 1 && hour < 24 && minute < 60 && second < 60;
    if !shape || !in_range || year < 1970 {
        return None;
    }
    let before = year - 1;
    // Days since year 1 (proleptic Gregorian), of which 1970-01-01 is number 719,162.
    let leap_days = before / 4 - before / 100 + before / 400;
    let days = before * 365 + leap_days + lengths.iter().take(month_index).sum::<u64>() + day - 1 - 719_162;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_unix_seconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2025-06-19T10:56:11Z", 1_750_330_571),
            ("2026-03-01T00:00:00Z", 1_772_323_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(rfc3339(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_forms_and_impossible_dates_are_refused() {
        for text in [
            "",
            "2025-06-19",
            "2025-06-19T10:56:11+00:00",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2025-06-19T24:00:00Z",
            "2025-06-1 T10:56:11Z",
            "+025-06-19T10:56:11Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }
}
