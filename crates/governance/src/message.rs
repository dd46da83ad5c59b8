//! A member's signed request: COSE_Sign1 with CCF's governance headers, as `ccf_cose_sign1` writes them.
//!
//! ```text
//!   bytes ─decode─▶ Message (claims) ─authenticate─▶ Signed (by this member, of this type)
//! ```

use coco_crypto::cose::{self, Sign1};
use coco_crypto::{ForeignCertificate, Scheme, sha256};
use coco_types::{Digest, MapName};
use minicbor::data::Type;
use minicbor::{Decoder, decode};

use crate::refusal::{Code, Refusal};
use crate::rows::MemberInfo;
use crate::tables::{self, Read};

pub(crate) const HEADER_TYPE: &str = "ccf.gov.msg.type";
pub(crate) const HEADER_PROPOSAL: &str = "ccf.gov.msg.proposal_id";
pub(crate) const HEADER_CREATED_AT: &str = "ccf.gov.msg.created_at";
/// Ten digits: what the keys of the replay window hold.
pub(crate) const CREATED_AT_MAX: u64 = 9_999_999_999;
const HEADERS_MAX: u64 = 32;

/// What a message says about itself. Nothing of it is proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub algorithm: i64,
    /// The member's id, in hex.
    pub key_id: String,
    /// `proposal`, `ballot`, `withdrawal`, `ack`, `state_digest`, `recovery_share`.
    pub kind: Option<String>,
    pub proposal_id: Option<String>,
    /// Unix seconds, by the member's clock.
    pub created_at: u64,
    pub payload: Vec<u8>,
    /// SHA-256 of the signature's bytes: names the message.
    pub digest: Digest,
}

/// A message whose member and signature were checked.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub message: Message,
    pub member: MemberInfo,
}

#[derive(Default)]
struct Headers {
    algorithm: Option<i64>,
    key_id: Option<String>,
    kind: Option<String>,
    proposal_id: Option<String>,
    created_at: Option<i128>,
}

impl Message {
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let sign1 = Sign1::decode(bytes).map_err(|error| unauthenticated(error.to_string()))?;
        let headers =
            headers(sign1.protected).map_err(|why| unauthenticated(format!("the protected headers: {why}")))?;
        let missing = |what: &str| unauthenticated(format!("the message has no {what}"));
        let created_at = headers.created_at.ok_or_else(|| missing(HEADER_CREATED_AT))?;
        let created_at = u64::try_from(created_at)
            .map_err(|_| unauthenticated(format!("{HEADER_CREATED_AT} is no time since 1970")))?;
        Ok(Self {
            algorithm: headers.algorithm.ok_or_else(|| missing("alg"))?,
            key_id: headers.key_id.ok_or_else(|| missing("kid"))?,
            kind: headers.kind,
            proposal_id: headers.proposal_id,
            created_at,
            payload: sign1.payload.ok_or_else(|| missing("payload"))?.to_vec(),
            digest: sha256(sign1.signature),
        })
    }

    /// Checks that the member named by the message signed it, and that it is of the type that the endpoint takes.
    pub(crate) fn authenticate(self, bytes: &[u8], state: &mut dyn Read, kind: &str) -> Result<Signed, Refusal> {
        let unknown = || unauthenticated(format!("no member has the id {}", self.key_id));
        let member = tables::read::<MemberInfo>(state, &tables::MEMBER_INFO, self.key_id.as_bytes())?;
        let member = member.ok_or_else(unknown)?;
        self.check(bytes, state, &tables::MEMBER_CERTS, kind)?;
        Ok(Signed { message: self, member })
    }

    /// Checks that the holder of the certificate in this map under the message's key id signed it, and its type.
    pub(crate) fn check(&self, bytes: &[u8], state: &mut dyn Read, map: &MapName, kind: &str) -> Result<(), Refusal> {
        let unknown = || unauthenticated(format!("no member has the id {}", self.key_id));
        let pem = state.row(map, self.key_id.as_bytes()).ok_or_else(unknown)?;
        let pem =
            std::str::from_utf8(&pem).map_err(|_| unauthenticated("the member's certificate is unreadable".into()))?;
        let certificate = ForeignCertificate::from_pem(pem).map_err(|error| {
            unauthenticated(format!("the member's certificate is of no kind that is known here: {error}"))
        })?;
        // ES256, ES384 and ES512, as in CCF.
        let scheme = cose::scheme(self.algorithm).filter(|scheme| matches!(scheme, Scheme::EcdsaFixed(_)));
        let Some(scheme) = scheme.filter(|scheme| certificate.key().fits(*scheme)) else {
            return Err(unauthenticated(format!("alg {} does not fit the member's key", self.algorithm)));
        };
        let sign1 = Sign1::decode(bytes).map_err(|error| unauthenticated(error.to_string()))?;
        let signed = cose::to_be_signed(sign1.protected, &self.payload);
        let verified = certificate.key().verify(scheme, &signed, sign1.signature);
        verified.map_err(|error| unauthenticated(error.to_string()))?;
        if self.kind.as_deref() != Some(kind) {
            let given = self.kind.as_deref().unwrap_or("nothing");
            return Err(unauthenticated(format!("{HEADER_TYPE} is {given}, and here must be {kind}")));
        }
        Ok(())
    }
}

pub(crate) fn unauthenticated(message: String) -> Refusal {
    Refusal::new(Code::InvalidAuthenticationInfo, message)
}

/// Reads the protected map. Any order; no label twice; headers that are not ours are skipped unless they are critical.
fn headers(protected: &[u8]) -> Result<Headers, String> {
    let mut decoder = Decoder::new(protected);
    let text = |error: decode::Error| error.to_string();
    let count = decoder.map().map_err(text)?.ok_or("an indefinite length")?;
    if count > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} of them"));
    }
    let mut headers = Headers::default();
    let mut seen = Vec::new();
    for _ in 0..count {
        let start = decoder.position();
        let label = label(&mut decoder).map_err(text)?;
        let encoded = protected.get(start..decoder.position()).unwrap_or_default();
        if seen.contains(&encoded) {
            return Err("a label occurs twice".to_owned());
        }
        seen.push(encoded);
        headers.read(&label, &mut decoder)?;
    }
    if decoder.position() == protected.len() { Ok(headers) } else { Err("bytes after them".to_owned()) }
}

enum Label {
    Number(i64),
    Text(String),
}

fn label(decoder: &mut Decoder<'_>) -> Result<Label, decode::Error> {
    match decoder.datatype()? {
        Type::String => Ok(Label::Text(decoder.str()?.to_owned())),
        _ => Ok(Label::Number(decoder.i64()?)),
    }
}

impl Headers {
    fn read(&mut self, label: &Label, decoder: &mut Decoder<'_>) -> Result<(), String> {
        let text = |error: decode::Error| error.to_string();
        match label {
            Label::Number(cose::LABEL_ALG) => self.algorithm = Some(decoder.i64().map_err(text)?),
            Label::Number(cose::LABEL_KID) => {
                let id = std::str::from_utf8(decoder.bytes().map_err(text)?).map_err(|_| "kid is not a member's id")?;
                self.key_id = Some(id.to_ascii_lowercase());
            }
            Label::Number(cose::LABEL_CRITICAL) => return Err("critical headers are not known here".to_owned()),
            Label::Text(name) if name == HEADER_TYPE => self.kind = Some(decoder.str().map_err(text)?.to_owned()),
            Label::Text(name) if name == HEADER_PROPOSAL => {
                self.proposal_id = Some(decoder.str().map_err(text)?.to_owned());
            }
            Label::Text(name) if name == HEADER_CREATED_AT => {
                self.created_at = Some(decoder.int().map_err(text)?.into());
            }
            _ => decoder.skip().map_err(text)?,
        }
        Ok(())
    }
}
