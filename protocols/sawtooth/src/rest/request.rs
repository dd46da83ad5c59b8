//! A request's query and headers, and the links that answers carry.

use bytes::Bytes;
use coco_protocol::{Caller, Idempotent};
use http::Request;
use http::header::CONTENT_TYPE;

use super::ApiError;
use crate::address::is_id;
use crate::limits::{NAMED_IDS_MAX, QUERY_PARAMETERS_MAX};
use crate::messages::client::{PagingControls, SortControls};

/// One request.
pub struct Call {
    request: Request<Bytes>,
    /// As given; of a repeated key the last one counts, at its first place.
    query: Vec<(String, String)>,
}

impl Call {
    pub fn new(request: Request<Bytes>) -> Result<Self, ApiError> {
        let mut query: Vec<(String, String)> = Vec::new();
        let pairs = || request.uri().query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        if pairs().count() > QUERY_PARAMETERS_MAX {
            return Err(ApiError::too_many_parameters());
        }
        for pair in pairs() {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key), decoded(value));
            match query.iter_mut().find(|(other, _)| *other == key) {
                Some((_, earlier)) => *earlier = value,
                None => query.push((key, value)),
            }
        }
        Ok(Self { request, query })
    }

    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    pub fn method(&self) -> &http::Method {
        self.request.method()
    }

    pub fn body(&self) -> &Bytes {
        self.request.body()
    }

    pub fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    /// Whether the content is of this type, with parameters or without.
    pub fn has_content_type(&self, wanted: &str) -> bool {
        let given = self.request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        given.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(wanted)
    }

    pub fn head(&self) -> Result<Option<&str>, ApiError> {
        self.value("head").map(checked_id).transpose()
    }

    /// The ids of a query.
    pub fn ids(&self) -> Result<Vec<String>, ApiError> {
        let ids = self.value("id").into_iter().flat_map(|ids| ids.split(','));
        ids.map(|id| checked_id(id).map(str::to_owned)).collect()
    }

    /// The ids of a body that is a JSON array of some; nothing if it is not, or of too many.
    pub fn posted_ids(&self) -> Option<Vec<String>> {
        // Before they are decoded, which takes ten times the memory where they are empty.
        if self.body().iter().filter(|byte| **byte == b',').count() >= NAMED_IDS_MAX {
            return None;
        }
        serde_json::from_slice(self.body()).ok().filter(|ids: &Vec<String>| !ids.is_empty())
    }

    /// What its `Idempotency-Key` says, if it has one.
    pub fn idempotent(&self, caller: &Caller) -> Result<Option<Idempotent>, ApiError> {
        Idempotent::of(caller, &self.request).map_err(|error| ApiError::malformed_key(&error.message))
    }

    pub fn paging(&self) -> Result<PagingControls, ApiError> {
        let limit = match self.value("limit") {
            None => 0,
            Some(text) => {
                let limit: i64 = text.trim().parse().ok().filter(|limit| *limit > 0).ok_or_else(ApiError::bad_limit)?;
                i32::try_from(limit).unwrap_or(i32::MAX)
            }
        };
        Ok(PagingControls { start: self.value("start").unwrap_or("").to_owned(), limit })
    }

    pub fn sorting(&self, only_key: &str) -> Vec<SortControls> {
        let keys = match self.value("reverse").map(str::to_lowercase).as_deref() {
            None | Some("false") => return Vec::new(),
            Some("") => vec![only_key.to_owned()],
            Some(_) => self.value("reverse").unwrap_or("").split(',').map(str::to_owned).collect(),
        };
        vec![SortControls { keys, reverse: true }]
    }

    /// Seconds to wait; nothing for not waiting.
    pub fn wait(&self) -> Option<u32> {
        /// What is waited without a number, seconds: 95 % of the original's timeout.
        const WAIT_S: u32 = 285;
        let wait = self.value("wait").filter(|wait| !wait.eq_ignore_ascii_case("false"))?;
        Some(wait.trim().parse().unwrap_or(WAIT_S))
    }

    /// This request again, with some values replaced: what a link says.
    pub fn url(&self, path: Option<&str>, changes: &[(&str, &str)]) -> String {
        let mut queries: Vec<(&str, &str)> =
            self.query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        for (key, value) in changes {
            match queries.iter_mut().find(|(other, _)| other == key) {
                Some((_, earlier)) => *earlier = value,
                None => queries.push((key, value)),
            }
        }
        let rank = |key: &str| ["head", "start", "limit"].iter().position(|first| *first == key).unwrap_or(3);
        queries.sort_by(|a, b| (rank(a.0), a.0).cmp(&(rank(b.0), b.0)));
        let text =
            |(key, value): &(&str, &str)| if value.is_empty() { (*key).to_owned() } else { format!("{key}={value}") };
        let query: Vec<_> = queries.iter().map(text).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let scheme = self.forwarded("proto").unwrap_or_else(|| "http".to_owned());
        let host = self.forwarded("host").or_else(|| self.header("host")).unwrap_or_else(|| "localhost".to_owned());
        let prefix = self.forwarded("path").unwrap_or_default();
        format!("{scheme}://{host}{prefix}{}{query}", path.unwrap_or_else(|| self.path()))
    }

    /// What a proxy says about the request that it got.
    fn forwarded(&self, key: &str) -> Option<String> {
        let header = self.header("forwarded").unwrap_or_default();
        let pairs = header.split([',', ';', ' ']).filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(key));
        let value = found.map(|(_, value)| value.trim().trim_matches('"').to_owned());
        value.or_else(|| self.header(&format!("x-forwarded-{key}"))).filter(|value| !value.is_empty())
    }

    fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }
}

pub fn checked_id(id: &str) -> Result<&str, ApiError> {
    if is_id(id) { Ok(id) } else { Err(ApiError::bad_id(&id.chars().take(200).collect::<String>())) }
}

/// Percent signs and pluses resolved; what is wrongly written stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.split_at_checked(2)).flatten();
        let byte = escaped.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (byte, escaped) {
            (Some(byte), Some((_, after))) => {
                plain.push(byte);
                rest = after;
            }
            _ => {
                plain.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(uri: &str, headers: &[(&str, &str)]) -> Call {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Call::new(request.body(Bytes::new()).unwrap()).unwrap()
    }

    #[test]
    fn links_name_head_start_and_limit_first() {
        let call = call("/blocks?limit=2&reverse&id=a%2Cb&head=old", &[("host", "node:8008")]);
        assert_eq!(
            call.url(None, &[("head", "h"), ("start", "s")]),
            "http://node:8008/blocks?head=h&start=s&limit=2&id=a,b&reverse"
        );
    }

    #[test]
    fn a_proxy_says_how_it_is_reached() {
        let x = [("host", "node"), ("x-forwarded-host", "example.org"), ("x-forwarded-path", "/api")];
        assert_eq!(call("/peers", &x).url(None, &[]), "http://example.org/api/peers");
        let standard = [("forwarded", "proto=https; host=\"example.org\", path=/a"), ("host", "node")];
        assert_eq!(call("/peers", &standard).url(None, &[]), "https://example.org/a/peers");
    }

    #[test]
    fn a_wait_is_a_number_or_the_default() {
        let wait = |query: &str| call(&format!("/batch_statuses?{query}"), &[]).wait();
        assert_eq!((wait("id=a"), wait("wait=false"), wait("wait=7")), (None, None, Some(7)));
        assert_eq!((wait("wait"), wait("wait=true")), (Some(285), Some(285)));
    }

    #[test]
    fn queries_that_are_wrongly_written_do_no_harm() {
        assert_eq!(decoded("a%2"), "a%2");
        assert_eq!(decoded("%zz+%41"), "%zz A");
        assert_eq!(call("/?&&=&a=1&a=2", &[]).value("a"), Some("2"));
        assert!(call("/?limit=0", &[]).paging().is_err());
        assert_eq!(call("/?limit=99999999999", &[]).paging().unwrap().limit, i32::MAX);
    }

    #[test]
    fn a_query_has_so_many_parameters_and_no_more() {
        let asked = |parameters: usize| {
            let keys: Vec<String> = (0..parameters).map(|number| format!("k{number}")).collect();
            Call::new(Request::get(format!("/blocks?{}", keys.join("&"))).body(Bytes::new()).unwrap())
        };
        assert!(asked(QUERY_PARAMETERS_MAX).is_ok());
        assert_eq!(asked(QUERY_PARAMETERS_MAX + 1).err(), Some(ApiError::too_many_parameters()));
    }
}
