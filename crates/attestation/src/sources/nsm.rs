//! AWS Nitro Enclaves: the security module makes the whole document.
//!
//! Requests and answers are CBOR as AWS's own library (`aws-nitro-enclaves-nsm-api`) writes and reads them: a map from the variant's name to its fields.

use std::path::Path;
use std::sync::Arc;

use minicbor::{Decoder, Encoder};

use super::{Devices, answer, device};
use crate::{Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

pub const DEVICE: &str = "/dev/nsm";

pub struct Nsm {
    pub devices: Arc<dyn Devices>,
}

impl EvidenceSource for Nsm {
    fn kind(&self) -> TeeKind {
        TeeKind::Nitro
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let answered = self.devices.nsm(&request(report_data)).map_err(device(Path::new(DEVICE)))?;
        Ok(Evidence::bare(TeeKind::Nitro, document(&answered)?))
    }
}

/// `{"Attestation": {"user_data": …, "nonce": null, "public_key": null}}`
fn request(report_data: &ReportData) -> Vec<u8> {
    let ok = "a vector takes any bytes";
    let mut bytes = Vec::new();
    let mut request = Encoder::new(&mut bytes);
    request.map(1).expect(ok).str("Attestation").expect(ok).map(3).expect(ok);
    request.str("user_data").expect(ok).bytes(&report_data.0).expect(ok);
    request.str("nonce").expect(ok).null().expect(ok).str("public_key").expect(ok).null().expect(ok);
    bytes
}

/// `{"Attestation": {"document": …}}`, or `{"Error": "…"}`
fn document(answered: &[u8]) -> Result<Vec<u8>, SourceError> {
    let malformed = |error: minicbor::decode::Error| answer(&format!("the security module's answer: {error}"));
    let mut decoder = Decoder::new(answered);
    if decoder.map().map_err(malformed)? != Some(1) {
        return Err(answer("the security module's answer is no map of one entry"));
    }
    match decoder.str().map_err(malformed)? {
        "Attestation" => {
            let one = decoder.map().map_err(malformed)? == Some(1);
            if !one || decoder.str().map_err(malformed)? != "document" {
                return Err(answer("the security module's answer holds no document"));
            }
            Ok(decoder.bytes().map_err(malformed)?.to_vec())
        }
        "Error" => {
            let word = decoder.str().map_err(malformed)?;
            Err(answer(&format!("the security module refuses: {}", word.escape_default())))
        }
        _ => Err(answer("the security module answers something else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_the_one_that_aws_s_library_writes() {
        // What serde_cbor makes of `Request::Attestation`, but for the user data themselves.
        let head = b"\xa1\x6bAttestation\xa3\x69user_data\x58\x40";
        let tail = b"\x65nonce\xf6\x6apublic_key\xf6";
        assert_eq!(request(&ReportData([7; 64])), [&head[..], &[7; 64], &tail[..]].concat());
    }

    #[test]
    fn a_document_is_taken_out_of_its_answer_and_anything_else_is_refused() {
        assert_eq!(document(b"\xa1\x6bAttestation\xa1\x68document\x43abc").unwrap(), b"abc");
        let refused = document(b"\xa1\x65Error\x6fInvalidArgument").unwrap_err().to_string();
        assert!(refused.contains("refuses: InvalidArgument"), "{refused}");
        let other =
            [&b""[..], b"\xa0", b"\x65Error", b"\xa1\x68Describe\xa0", b"\xa1\x6bAttestation\xa1\x68document\x43ab"];
        for broken in other {
            assert!(document(broken).is_err(), "{broken:x?}");
        }
    }
}
