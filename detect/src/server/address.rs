//! The base address of a server.

use ureq::http::Uri;

use super::error::ServerError;

/// The address that paths are put after: as given, or with `/v1` where it names a host alone.
///
/// # Errors
/// When it is no http(s) address, or holds a user name, a query or a fragment.
pub(super) fn base(address: &str) -> Result<String, ServerError> {
    let wrong = |why| ServerError::Address { address: without_user(address), why };
    let uri = address.parse::<Uri>().map_err(|_| wrong("expected http://HOST:PORT or https://HOST"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("expected http://HOST:PORT or https://HOST"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("a key is named by --api-key-env, it does not stand in the address"));
    }
    if uri.query().is_some() || address.contains('#') {
        return Err(wrong("expected an address without `?` and `#`"));
    }
    let trimmed = address.trim_end_matches('/');
    Ok(if uri.path().trim_matches('/').is_empty() { format!("{trimmed}/v1") } else { trimmed.to_owned() })
}

/// An address for an error message: what may be a password is left out.
fn without_user(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://...@{rest}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_gets_the_usual_path() {
        assert_eq!(base("http://localhost:8080").as_deref(), Ok("http://localhost:8080/v1"));
        assert_eq!(base("http://localhost:8080/").as_deref(), Ok("http://localhost:8080/v1"));
        assert_eq!(base("https://host/api/v1/").as_deref(), Ok("https://host/api/v1"));
        assert_eq!(base("http://[::1]:8000/v1").as_deref(), Ok("http://[::1]:8000/v1"));
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_not_repeated() {
        for address in ["", "localhost:8080", "ftp://host", "http://", "http://host/v1?key=secret", "http://host#x", "file:///etc/passwd"] {
            assert!(base(address).is_err(), "{address}");
        }
        let told = base("https://me:secret@host").expect_err("a user name").to_string();
        assert!(!told.contains("secret") && told.contains("--api-key-env"), "{told}");
    }
}
