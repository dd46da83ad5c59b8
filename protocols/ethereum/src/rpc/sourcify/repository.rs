//! The repository of sources, file by file, under the paths that Sourcify's own has.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{Asking, answer, text};

/// Only whole matches are kept.
pub fn file(asking: &Asking<'_>, kind: &str, place: (&str, &str), file: &[&str]) -> Response<Bytes> {
    let absent = || answer(StatusCode::NOT_FOUND, json!({"error": "no such file"}));
    let known = asking.place(place).ok().filter(|_| kind == "full_match").and_then(|address| asking.known(address));
    let Some(known) = known else { return absent() };
    match file {
        ["metadata.json"] => text("application/json", known.upload.metadata),
        ["sources", path @ ..] => {
            let asked = sanitized(&decoded(&path.join("/")));
            let found = known.upload.sources.into_iter().find(|(path, _)| sanitized(path) == asked);
            found.map_or_else(absent, |(_, content)| text("text/plain; charset=utf-8", content))
        }
        _ => absent(),
    }
}

/// As Sourcify and its readers write a path.
fn sanitized(path: &str) -> String {
    path.replace(['@', ':'], "_").trim_start_matches('/').to_owned()
}

/// Undoes a URL's escapes; what is none stays as it is.
fn decoded(path: &str) -> String {
    let (mut out, bytes) = (Vec::with_capacity(path.len()), path.as_bytes());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits =
            bytes.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                out.push(escaped);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_their_readers_write_them() {
        assert_eq!(sanitized(&decoded("_openzeppelin/a%20b.sol")), sanitized("@openzeppelin/a b.sol"));
        assert_eq!(decoded("100%/%zz"), "100%/%zz");
    }
}
