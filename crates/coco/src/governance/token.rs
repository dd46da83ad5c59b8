//! A member's key in a PKCS #11 token: an HSM, a smart card, a software token. The key signs there and never comes out.
//!
//! It is named by a URI (RFC 7512): `pkcs11:token=BANK;object=member?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=pin.txt`.
//! `token`, `object` and `id` choose; the module is the token's own library, loaded when it is asked to sign. The PIN comes from a file, so that no
//! list of processes shows it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use coco_crypto::{Curve, sha256, sha384};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

pub const SCHEME: &str = "pkcs11:";

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    module: PathBuf,
    pin_source: Option<PathBuf>,
    /// The token's label.
    token: Option<String>,
    /// The key's label.
    object: Option<String>,
    id: Option<Vec<u8>>,
}

impl Token {
    pub fn parse(uri: &str) -> anyhow::Result<Self> {
        let rest = uri.strip_prefix(SCHEME).context("a token's key is named by pkcs11:…")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parsed = Self { module: PathBuf::new(), pin_source: None, token: None, object: None, id: None };
        let attributes = path.split(';').chain(query.split('&')).filter(|attribute| !attribute.is_empty());
        for attribute in attributes {
            let (name, value) = attribute.split_once('=').with_context(|| format!("{attribute} has no value"))?;
            let bytes = percent_decoded(value)?;
            let text = || String::from_utf8(bytes.clone()).with_context(|| format!("{name} is not text"));
            match name {
                "token" => parsed.token = Some(text()?),
                "object" => parsed.object = Some(text()?),
                "id" => parsed.id = Some(bytes),
                "module-path" => parsed.module = text()?.into(),
                "pin-source" => parsed.pin_source = Some(text()?.trim_start_matches("file:").into()),
                "type" if value == "private" => {}
                _ => bail!("{name} says nothing here: token, object, id, module-path and pin-source choose a key"),
            }
        }
        ensure!(!parsed.module.as_os_str().is_empty(), "module-path must name the token's library");
        ensure!(parsed.object.is_some() || parsed.id.is_some(), "object or id must name the key");
        Ok(parsed)
    }

    /// The token's signature over a message, r then s.
    pub fn sign(&self, curve: Curve, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let digest = match curve {
            Curve::P256 => sha256(message).0.to_vec(),
            Curve::P384 => sha384(message).to_vec(),
        };
        let module = self.module.display();
        let library = Pkcs11::new(&self.module).with_context(|| format!("{module} is no PKCS #11 library"))?;
        library
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .with_context(|| module.to_string())?;
        let mut slots = Vec::new();
        for slot in library.get_slots_with_token()? {
            let label = library.get_token_info(slot)?.label().trim_end().to_owned();
            if self.token.as_ref().is_none_or(|wanted| *wanted == label) {
                slots.push(slot);
            }
        }
        let [slot] = slots.as_slice() else {
            bail!("{module} has {} tokens of this name: token=… must name one", slots.len());
        };
        let session = library.open_ro_session(*slot)?;
        if let Some(path) = &self.pin_source {
            let pin = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let pin: AuthPin = pin.trim_end_matches(['\r', '\n']).to_owned().into();
            session.login(UserType::User, Some(&pin)).context("the token does not take the PIN")?;
        }
        let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
        wanted.extend(self.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
        wanted.extend(self.id.iter().map(|id| Attribute::Id(id.clone())));
        let keys = session.find_objects(&wanted)?;
        let [key] = keys.as_slice() else {
            bail!("the token has {} private keys of this name; without the PIN it shows none", keys.len());
        };
        session.sign(&Mechanism::Ecdsa, *key, &digest).context("the token did not sign")
    }
}

fn percent_decoded(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
        let decoded = hex::decode(digits).ok().and_then(|byte| byte.first().copied());
        bytes.push(decoded.with_context(|| format!("{text}: two hexadecimal digits follow a %"))?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_library_token_and_key() {
        let uri = "pkcs11:token=Bank%20A;object=member;id=%01%02?module-path=/lib/hsm.so&pin-source=file:/run/pin";
        let expected = Token {
            module: "/lib/hsm.so".into(),
            pin_source: Some("/run/pin".into()),
            token: Some("Bank A".to_owned()),
            object: Some("member".to_owned()),
            id: Some(vec![1, 2]),
        };
        assert_eq!(Token::parse(uri).unwrap(), expected);
        for bad in [
            "member.pem",
            "pkcs11:object=member",
            "pkcs11:token=a?module-path=/lib/hsm.so",
            "pkcs11:object=%0?module-path=/lib/hsm.so",
            "pkcs11:object=a;colour=red?module-path=/lib/hsm.so",
            "pkcs11:object?module-path=/lib/hsm.so",
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_library_that_is_none_is_named() {
        let token = Token::parse("pkcs11:object=member?module-path=/nowhere/hsm.so").unwrap();
        let error = token.sign(Curve::P256, b"message").unwrap_err();
        assert!(error.to_string().contains("/nowhere/hsm.so is no PKCS #11 library"), "{error}");
    }
}
