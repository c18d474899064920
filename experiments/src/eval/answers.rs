//! Generated answers: what a filter takes of them, and whether that is right (`lm_eval/filters/extraction.py`, `api/metrics.py`).

use regex::{Captures, Regex};

use super::task::{Compare, Filter};

/// Stands for an answer in which a filter finds nothing.
const INVALID: &str = "[invalid]";

/// The filters of a task and how it compares, with their expressions compiled.
#[derive(Debug)]
pub struct Marker {
    filters: Vec<(String, Option<Regex>, bool)>,
    ignored: Vec<Regex>,
    compare: Compare,
}

impl Marker {
    /// # Errors
    /// Names the expression that is none.
    pub fn new(filters: &[Filter], compare: &Compare) -> Result<Self, String> {
        let compiled = |source: &String| Regex::new(source).map_err(|error| format!("`{source}` is no regular expression: {error}"));
        let filter = |filter: &Filter| Ok((filter.name.clone(), filter.regex.as_ref().map(compiled).transpose()?, filter.last));
        Ok(Self {
            filters: filters.iter().map(filter).collect::<Result<_, String>>()?,
            ignored: compare.ignore.iter().map(compiled).collect::<Result<_, _>>()?,
            compare: compare.clone(),
        })
    }

    /// What each filter takes of a generated text, by its name; without filters the text itself, by no name.
    pub fn filtered(&self, generated: &str) -> Vec<(String, String)> {
        if self.filters.is_empty() {
            return vec![(String::new(), generated.to_owned())];
        }
        let taken =
            |regex: &Option<Regex>, last| regex.as_ref().map_or_else(|| generated.trim().to_owned(), |regex| found(regex, generated, last));
        self.filters.iter().map(|(name, regex, last)| (name.clone(), taken(regex, *last))).collect()
    }

    /// Whether an answer is one of the right ones.
    pub fn is_right(&self, answer: &str, right: &[String]) -> bool {
        let answer = self.plain(answer);
        right.iter().any(|right| self.plain(right) == answer)
    }

    /// What counts of a text.
    fn plain(&self, text: &str) -> String {
        let mut text = self.ignored.iter().fold(text.to_owned(), |text, ignored| ignored.replace_all(&text, "").into_owned());
        if self.compare.ignore_case {
            text = text.to_lowercase();
        }
        if self.compare.ignore_punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        text
    }
}

/// The first group that matched, in the first match or the last; the whole match where there are no groups.
fn found(regex: &Regex, text: &str, last: bool) -> String {
    let mut matches = regex.captures_iter(text);
    let chosen = if last { matches.last() } else { matches.next() };
    let of = |captures: Captures| {
        let groups = captures.iter().skip(usize::from(captures.len() > 1));
        groups.flatten().map(|group| group.as_str()).find(|group| !group.is_empty()).map(|group| group.trim().to_owned())
    };
    chosen.and_then(of).unwrap_or_else(|| INVALID.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gsm8k() -> Marker {
        let filter = |name: &str, regex: &str, last| Filter { name: name.into(), regex: Some(regex.into()), last };
        let filters = [filter("strict", r"#### (\-?[0-9\.\,]+)", false), filter("flexible", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", true)];
        let ignore = [",", r"\$", "(?s).*#### ", r"\.$"].map(str::to_owned).to_vec();
        Marker::new(&filters, &Compare { ignore, ignore_case: true, ignore_punctuation: false }).expect("regular expressions")
    }

    /// `RegexFilter(pattern, group_select).apply([[text]], [{}])` of lm-eval 0.4.13.
    #[test]
    fn filters_take_what_those_of_lm_eval_take() {
        let cases = [
            ("so 3 + 4 = 7.\n#### 1,234.", ["1,234.", "1,234."]),
            ("it is $18. Yes, 18", ["[invalid]", "18"]),
            ("#### -5", ["-5", "-5"]),
            ("it costs 7 or 8.", ["[invalid]", "8."]),
            ("nothing", ["[invalid]", "[invalid]"]),
        ];
        for (text, expected) in cases {
            let taken: Vec<String> = gsm8k().filtered(text).into_iter().map(|(_, answer)| answer).collect();
            assert_eq!(taken, expected, "{text}");
        }
    }

    #[test]
    fn answers_are_compared_without_what_is_ignored() {
        let right = ["He has 1,000 + 234.\n#### 1,234".to_owned()];
        assert!(gsm8k().is_right("1,234.", &right) && gsm8k().is_right("$1234", &right) && !gsm8k().is_right("234", &right));
        let loose = Marker::new(&[], &Compare { ignore: vec![], ignore_case: true, ignore_punctuation: true }).expect("nothing to compile");
        assert!(loose.is_right("St. John's", &["x".into(), "st johns".into()]) && !loose.is_right("john", &["johns".into()]));
    }
}
