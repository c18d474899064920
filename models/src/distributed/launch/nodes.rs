//! Slurm's short form of host lists, such as `node[03-07,11],login1`.

/// The first host of a list, or `None` where the list is empty or a bracket is not `[numbers and ranges]`.
pub(super) fn first(list: &str) -> Option<String> {
    let mut host = String::new();
    let mut rest = list.trim();
    while let Some(at) = rest.find(['[', ',']) {
        host.push_str(&rest[..at]);
        if rest[at..].starts_with(',') {
            return plausible(host);
        }
        let (ranges, after) = rest[at + 1..].split_once(']')?;
        host.push_str(first_number(ranges)?);
        rest = after;
    }
    plausible(host + rest)
}

/// The digits before the first `-` or `,`, leading zeros included.
fn first_number(ranges: &str) -> Option<&str> {
    let number = ranges.split(['-', ',']).next()?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(number)
}

fn plausible(host: String) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (!host.is_empty() && host.bytes().all(allowed)).then_some(host)
}
