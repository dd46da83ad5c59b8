//! Requests for certificates (PKCS #10, RFC 2986), as OpenSSL and others make and read them.
//!
//! Who asks must have signed the request with the key that it is for. Of what it asks to have in the certificate, names are read; the rest is for the issuer
//! to decide, and is ignored.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::certificate::{self, known_name};
use crate::{Crypto, Error, ForeignKey, Hash, PublicKey, Scheme, SigningKey, SubjectAltName, decode_pem, encode_pem};

const LABEL: &str = "CERTIFICATE REQUEST";

/// A request whose signature is that of the key that it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateRequest {
    pub public_key: PublicKey,
    pub common_name: Option<String>,
    /// Those of which Coco knows the kind.
    pub subject_alt_names: Vec<SubjectAltName>,
}

impl CertificateRequest {
    /// A request for this key's own certificate, in PEM.
    pub fn sign(
        crypto: &dyn Crypto,
        key: &SigningKey,
        common_name: &str,
        subject_alt_names: &[SubjectAltName],
    ) -> Result<String, Error> {
        Ok(encode_pem(LABEL, &certificate::request(crypto, key, common_name, subject_alt_names)?))
    }

    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_der(&decode_pem(LABEL, text)?)
    }

    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(Error::MalformedCertificate);
        };
        let info = &request.certification_request_info;
        let key = info.subject_pki.raw;
        let hash = match request.signature_algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.10045.4.3.2" => Hash::Sha256,
            "1.2.840.10045.4.3.3" => Hash::Sha384,
            "1.2.840.10045.4.3.4" => Hash::Sha512,
            _ => return Err(Error::MalformedCertificate),
        };
        let signature = &request.signature_value.data;
        ForeignKey::from_spki_der(key)?.verify(Scheme::EcdsaDer(hash), info.raw, signature)?;
        let common_name = info.subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let names = request.requested_extensions().into_iter().flatten().flat_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => names.general_names.as_slice(),
            _ => &[],
        });
        Ok(Self {
            public_key: PublicKey::from_spki_der(key)?,
            common_name: common_name.map(ToOwned::to_owned),
            subject_alt_names: names.filter_map(known_name).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Curve, SeededCrypto};

    /// `openssl req -new -key KEY -subj '/O=Bank A/CN=node0.bank-a.example' -addext 'subjectAltName=DNS:node0.bank-a.example,IP:10.0.0.7'`, with OpenSSL 3, and
    /// the same without names for a key on P-384.
    const P256: &str = include_str!("../testdata/request_p256.pem");
    const P384: &str = include_str!("../testdata/request_p384.pem");
    const RSA: &str = include_str!("../testdata/request_rsa.pem");

    #[test]
    fn requests_made_by_openssl_are_read() {
        let request = CertificateRequest::from_pem(P256).unwrap();
        assert_eq!(request.common_name.as_deref(), Some("node0.bank-a.example"));
        let names = ["node0.bank-a.example", "10.0.0.7"].map(SubjectAltName::from_host);
        assert_eq!(request.subject_alt_names, names);
        let request = CertificateRequest::from_pem(P384).unwrap();
        assert_eq!((request.common_name.as_deref(), request.subject_alt_names.len()), (Some("node1"), 0));
    }

    #[test]
    fn a_request_that_is_made_here_is_read() {
        let crypto = SeededCrypto::new(1);
        for curve in [Curve::P256, Curve::P384] {
            let key = SigningKey::generate(&crypto, curve);
            let names = ["node0.bank-a.example", "10.0.0.7", "::1"].map(SubjectAltName::from_host);
            let request =
                CertificateRequest::from_pem(&CertificateRequest::sign(&crypto, &key, "node0", &names).unwrap())
                    .unwrap();
            assert_eq!((&request.public_key, request.common_name.as_deref()), (key.public_key(), Some("node0")));
            assert_eq!(request.subject_alt_names, names);
        }
    }

    #[test]
    fn what_the_key_did_not_sign_and_what_is_no_request_is_refused() {
        let der = decode_pem(LABEL, P256).unwrap();
        for at in [20, 60, der.len() - 3] {
            let mut changed = der.clone();
            changed[at] ^= 1;
            assert!(CertificateRequest::from_der(&changed).is_err(), "byte {at}");
        }
        assert!(CertificateRequest::from_der(&der[..der.len() - 1]).is_err());
        assert!(CertificateRequest::from_der(&[&der[..], &[0]].concat()).is_err());
        assert!(CertificateRequest::from_pem(RSA).is_err());
        assert!(CertificateRequest::from_pem("").is_err());
    }
}
