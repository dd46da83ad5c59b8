//! Who sends a request: one [`Caller`] from whatever it proves itself by, judged as of what is committed and of now.
//!
//! ```text
//!   TLS client certificate ── registered itself ───────────────▶ Member, Participant
//!                          └─ issued below a registered CA ────▶ User of that organisation
//!   Authorization: Bearer ─── key and issuer voted in ─────────▶ Token
//!   application/cose ──────── signed by a registered certificate ▶ Member, Participant (below /app)
//!                                        └─▶ with the identities of ledgers that are bound to it
//! ```
//!
//! A credential that is given and does not hold refuses the request, so that nobody acts as nobody by mistake; a certificate that nobody
//! knows is as good as none, but is passed on. Nothing is fetched, remembered or logged of a token; services see what it says, and never itself.

mod chain;
mod signed;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use coco_governance::tables;
use coco_kv::Snapshot;
use coco_protocol::{ApiError, Caller, Identity, TokenClaims, bindings};
use coco_types::MapName;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};

pub use chain::Presented;

use chain::Organisations;

/// As CCF names them.
const BEARER: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"JWT bearer token access\", error=\"invalid_token\"");
const SIGNED: HeaderValue = HeaderValue::from_static("COSE-SIGN1 realm=\"Signed request access\"");

/// What requests are judged by.
pub struct Facts {
    /// What is committed.
    pub state: Snapshot,
    /// Changes whenever certificates of members or participants may have changed.
    pub actors_version: u64,
    /// Unix seconds.
    pub now_s: u64,
}

/// See the module's text.
pub struct Authenticator {
    facts: Box<dyn Fn() -> Facts + Send + Sync>,
    organisations: Organisations,
}

/// A credential that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    pub message: String,
    challenge: HeaderValue,
}

impl Authenticator {
    pub fn new(facts: impl Fn() -> Facts + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { facts: Box::new(facts), organisations: Organisations::default() })
    }

    /// Who sends it. A signed request is opened: what goes on is what was signed.
    pub fn caller_of(&self, presented: Option<&Presented>, request: &mut Request<Bytes>) -> Result<Caller, Denied> {
        let signed = signed::is_signed(request);
        if presented.is_none() && !signed && !request.headers().contains_key(AUTHORIZATION) {
            return Ok(Caller::Anonymous);
        }
        let mut facts = (self.facts)();
        let (mut identities, token) = self.of_head(&mut facts, presented, request.headers_mut())?;
        if signed {
            // Whoever passes it on proves nothing about it.
            identities = signed::open(&mut facts.state, facts.now_s, request)?;
        } else {
            token.map(|token| request.extensions_mut().insert(token));
        }
        Ok(bindings::with_bound(&facts.state, identities))
    }

    /// The same by what stands in a request's head.
    pub fn caller_of_head(&self, presented: Option<&Presented>, headers: &mut HeaderMap) -> Result<Caller, Denied> {
        if presented.is_none() && !headers.contains_key(AUTHORIZATION) {
            return Ok(Caller::Anonymous);
        }
        let mut facts = (self.facts)();
        let (identities, _) = self.of_head(&mut facts, presented, headers)?;
        Ok(bindings::with_bound(&facts.state, identities))
    }

    fn of_head(
        &self,
        facts: &mut Facts,
        presented: Option<&Presented>,
        headers: &mut HeaderMap,
    ) -> Result<(Vec<Identity>, Option<TokenClaims>), Denied> {
        let mut identities = presented.map_or_else(Vec::new, |presented| self.organisations.known(facts, presented));
        let Some(token) = token::bearer(headers)? else { return Ok((identities, None)) };
        let (identity, claims) = token::judge(&token, &mut facts.state, facts.now_s)?;
        identities.push(identity);
        Ok((identities, Some(claims)))
    }
}

/// Members and participants by their own certificate.
fn registered(state: &Snapshot, fingerprint: &str) -> Vec<Identity> {
    let known = |map: &MapName| state.get(map, fingerprint.as_bytes()).is_some();
    let member = known(&tables::MEMBER_CERTS).then(|| Identity::Member(fingerprint.to_owned()));
    let participant = known(&tables::USER_CERTS).then(|| Identity::Participant(fingerprint.to_owned()));
    member.into_iter().chain(participant).collect()
}

impl Denied {
    fn token(message: impl Into<String>) -> Self {
        Self { message: message.into(), challenge: BEARER }
    }

    fn signed(message: impl Into<String>) -> Self {
        Self { message: message.into(), challenge: SIGNED }
    }

    pub fn into_response(self) -> Response<Bytes> {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo", self.message);
        let mut response = error.into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, self.challenge);
        response
    }
}
