//! Dates among the words of a sentence: years, months by their English names, days beside them.

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// How many of the words, numbered from 0, are a date: `14 March 1879`, `March 14, 1879`, `March`, `1879-03-14`, `1879`, `1870s`.
pub(super) fn date<'a>(words: impl Fn(usize) -> Option<&'a str>) -> usize {
    let is = |at: usize, what: fn(&str) -> bool| words(at).is_some_and(what);
    let (before, month) = (usize::from(is(0, is_day) && is(1, is_month)), is(0, is_month) || is(0, is_day) && is(1, is_month));
    if !month {
        return usize::from(is(0, is_year) || is(0, is_whole_date));
    }
    let after = before + 1;
    let day = usize::from(before == 0 && is(after, is_day));
    after + day + usize::from(is(after + day, is_year))
}

fn is_month(word: &str) -> bool {
    MONTHS.contains(&word)
}

fn is_day(word: &str) -> bool {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    is_digits(digits) && digits.parse::<u8>().is_ok_and(|day| (1..=31).contains(&day))
}

fn is_year(word: &str) -> bool {
    let digits = word.strip_suffix('s').unwrap_or(word);
    digits.len() == 4 && is_digits(digits) && digits.parse::<u16>().is_ok_and(|year| (1000..2100).contains(&year))
}

/// Three numbers between hyphens, slashes or full stops, one of them a year.
fn is_whole_date(word: &str) -> bool {
    ['-', '/', '.'].into_iter().any(|mark| {
        let parts: Vec<&str> = word.split(mark).collect();
        parts.len() == 3 && parts.iter().all(|part| is_digits(part)) && (is_year(parts[0]) || is_year(parts[2]))
    })
}

pub(super) fn is_digits(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str) -> usize {
        let words: Vec<&str> = text.split_whitespace().collect();
        date(|word| words.get(word).copied())
    }

    #[test]
    fn dates_come_in_several_orders() {
        assert_eq!(["14 March 1879 x", "March 14th 1879", "March 1879", "3 May flowers", "June"].map(length), [3, 3, 2, 2, 1]);
        assert_eq!(["1879-03-14", "14/3/1879", "14.3.1879", "1870s and", "1879"].map(length), [1; 5]);
    }

    #[test]
    fn other_numbers_are_no_dates() {
        assert_eq!(["2500", "0999", "14", "32 March", "1-2-3", "1879-03", "in march", "", "千九百"].map(length), [0; 9]);
    }
}
