//! `coco attest submit …`: brings what a vendor has published to the ledger, from files as the vendor serves them. Nothing is fetched here: a member's
//! machine that may reach the vendor and the network's node need not be the same, and every item proves itself.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use coco_attestation::Root;
use coco_attestation::collateral::{CollateralItem, SignedText};
use coco_crypto::{ForeignCertificate, RevocationList, decode_pem, decode_pem_all, encode_pem};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::{Connection, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(30);
const PATH: &str = "/node/attestations/collateral";

#[derive(Args, Debug)]
pub struct Submit {
    #[command(subcommand)]
    item: Item,
    /// Any node's API
    #[arg(long, default_value = "https://127.0.0.1:8000", global = true)]
    api: Url,
    /// The service's certificate
    #[arg(long, value_name = "CERT", default_value = "service_certificate.pem", global = true)]
    service: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Item {
    /// A revocation list, DER or PEM, as AMD and Intel serve it
    Crl {
        file: PathBuf,
        /// Whose root is above it: amd_milan, amd_genoa, amd_turin, intel, aws_nitro, tpm
        #[arg(long, value_parser = root)]
        root: Root,
        /// The list's issuer and what is above it, in PEM; what is below it is left out
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
    },
    /// Intel's TCB info, the whole answer: {"tcbInfo": …, "signature": …}
    TcbInfo {
        file: PathBuf,
        /// The header TCB-Info-Issuer-Chain of the same answer, percent-encoded as it came or not
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
    },
    /// Intel's identity of a quoting enclave, the whole answer: {"enclaveIdentity": …, "signature": …}
    QeIdentity {
        file: PathBuf,
        /// The header SGX-Enclave-Identity-Issuer-Chain of the same answer, percent-encoded as it came or not
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
    },
}

/// As Intel's service answers. What is signed is the text between the colon and the comma, byte for byte.
#[derive(Deserialize)]
struct IntelAnswer<'a> {
    #[serde(rename = "tcbInfo", borrow)]
    tcb_info: Option<&'a RawValue>,
    #[serde(rename = "enclaveIdentity", borrow)]
    enclave_identity: Option<&'a RawValue>,
    #[serde(with = "hex::serde")]
    signature: Vec<u8>,
}

/// What the node answers.
#[derive(Serialize, Deserialize)]
struct Taken {
    collateral: String,
}

pub fn run(options: &Submit, output: Output) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&options.item.read()?)?;
    let tls = tls::trusting(&tls::read_certificate(&options.service)?)?;
    let mut connection = Connection::open(&options.api, Some(&tls), TIMEOUT)?;
    let path = options.api.at(PATH).path;
    let answer = connection.call("POST", &path, &[("content-type", "application/json")], &body)?;
    if answer.status != 200 {
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let why = told["error"]["message"].as_str().unwrap_or_default().to_owned();
        bail!("the network does not take it: {why} ({})", answer.status);
    }
    output.print(&serde_json::from_slice::<Taken>(&answer.body).context("malformed answer")?)
}

impl Item {
    fn read(&self) -> anyhow::Result<CollateralItem> {
        match self {
            Self::Crl { file, root, chain } => crl(&bytes(file)?, *root, &text(chain)?),
            Self::TcbInfo { file, chain } => {
                let (text, chain) = (text(file)?, text(chain)?);
                let answer = intel(&text).with_context(|| file.display().to_string())?;
                let signed = answer.tcb_info.with_context(|| format!("{}: it holds no tcbInfo", file.display()))?;
                Ok(CollateralItem::TcbInfo(signed_text(signed, answer.signature.clone(), &chain)?))
            }
            Self::QeIdentity { file, chain } => {
                let (text, chain) = (text(file)?, text(chain)?);
                let answer = intel(&text).with_context(|| file.display().to_string())?;
                let signed = answer.enclave_identity;
                let signed = signed.with_context(|| format!("{}: it holds no enclaveIdentity", file.display()))?;
                Ok(CollateralItem::QeIdentity(signed_text(signed, answer.signature.clone(), &chain)?))
            }
        }
    }
}

fn intel(text: &str) -> anyhow::Result<IntelAnswer<'_>> {
    serde_json::from_str(text).context("this is no answer of Intel's service")
}

fn signed_text(signed: &RawValue, signature: Vec<u8>, chain: &str) -> anyhow::Result<SignedText> {
    let chain = certificates(chain)?.iter().map(|der| encode_pem("CERTIFICATE", der)).collect();
    Ok(SignedText { text: signed.get().to_owned(), signature, chain })
}

fn crl(bytes: &[u8], root: Root, chain: &str) -> anyhow::Result<CollateralItem> {
    let list = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN") => decode_pem("X509 CRL", text)?,
        _ => bytes.to_vec(),
    };
    let parsed = RevocationList::from_der(&list).context("this is no revocation list")?;
    let ders = certificates(chain)?;
    let certificates = ders.iter().map(|der| ForeignCertificate::from_der(der)).collect::<Result<Vec<_>, _>>()?;
    let issuer = certificates.iter().position(|certificate| certificate.subject_der() == parsed.issuer_der());
    let issuer = issuer.with_context(|| format!("the chain lacks the list's issuer, {}", parsed.issuer()))?;
    let chain = ders.iter().skip(issuer).map(|der| encode_pem("CERTIFICATE", der)).collect();
    Ok(CollateralItem::Crl { list, root, chain })
}

fn certificates(text: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let ders = decode_pem_all("CERTIFICATE", &unescaped(text)?)?;
    ensure!(!ders.is_empty(), "the chain holds no certificate in PEM");
    Ok(ders)
}

/// Intel's service puts PEM into a header, percent-encoded.
fn unescaped(text: &str) -> anyhow::Result<String> {
    if !text.contains("-----BEGIN%20") {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.context("the chain is percent-encoded, and not well")?);
        bytes.extend(part.bytes().skip(2));
    }
    Ok(String::from_utf8(bytes)?)
}

fn root(name: &str) -> Result<Root, String> {
    serde_json::from_value(name.into())
        .map_err(|_| "one of amd_milan, amd_genoa, amd_turin, intel, aws_nitro, tpm".to_owned())
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "taken: {}", self.collateral)
    }
}

#[cfg(test)]
mod tests {
    use coco_testpki::intel::Intel;
    use coco_testpki::snp::{Amd, Product};

    use super::*;

    const AT: u64 = 1_790_000_000;

    #[test]
    fn intel_s_answers_become_items_byte_for_byte_with_chains_as_they_came() {
        let intel = Intel::new(AT);
        let items = intel.collateral(&intel.publication(AT));
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        for item in items {
            let (field, signed) = match &item {
                CollateralItem::TcbInfo(signed) => ("tcbInfo", signed),
                CollateralItem::QeIdentity(signed) => ("enclaveIdentity", signed),
                CollateralItem::Crl { .. } => continue,
            };
            let signature = hex::encode(&signed.signature);
            let answer = format!("{{\"{field}\":{},\"signature\":\"{signature}\"}}", signed.text);
            let file = write("answer", &answer);
            let escaped = signed.chain.replace(' ', "%20").replace('\n', "%0A").replace('=', "%3D");
            for chain in [signed.chain.as_str(), escaped.as_str()] {
                let chain = write("chain", chain);
                let (info, identity) = (
                    Item::TcbInfo { file: file.clone(), chain: chain.clone() },
                    Item::QeIdentity { file: file.clone(), chain },
                );
                let (right, wrong) = if field == "tcbInfo" { (info, identity) } else { (identity, info) };
                assert_eq!(right.read().unwrap(), item);
                assert!(wrong.read().unwrap_err().to_string().contains("holds no"));
            }
        }
    }

    #[test]
    fn a_list_is_taken_in_either_form_with_its_chain_from_the_issuer_on() {
        let amd = Amd::new(Product::Milan, AT);
        let item = amd.revocations(&[11], AT);
        let CollateralItem::Crl { list, root, chain } = &item else { panic!() };
        // As AMD serves the chain: the authority of the chips first, which issues no lists.
        let served = [amd.ask.pem(), chain.clone()].concat();
        let pem = encode_pem("X509 CRL", list);
        for bytes in [list.as_slice(), pem.as_bytes()] {
            assert_eq!(crl(bytes, *root, &served).unwrap(), item);
        }
        let other = Amd::new(Product::Genoa, AT);
        let stranger = crl(list, *root, &other.ark.pem()).unwrap_err().to_string();
        assert!(stranger.contains("lacks the list's issuer"), "{stranger}");
        assert!(crl(b"no list", *root, chain).is_err());
        assert!(super::root("amd_milan").is_ok() && super::root("acme").is_err());
    }
}
