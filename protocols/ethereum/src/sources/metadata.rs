//! What a compiler wrote about a contract, and the hashes on the way from the bytecode to the sources.

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};
use coco_crypto::sha256;
use serde::Deserialize;

use super::SOURCES_BYTES_MAX;

/// Uploaded files, name to content.
pub type Files = BTreeMap<String, String>;

/// A file above this is hashed in several pieces, which is not followed.
const METADATA_BYTES_MAX: usize = 256 << 10;
/// A multihash of SHA-256: its code and length.
const MULTIHASH_SHA256: [u8; 2] = [0x12, 0x20];
/// In CBOR: the text `ipfs`, and a byte string of 34.
const IPFS_KEY: [u8; 7] = [0x64, b'i', b'p', b'f', b's', 0x58, 0x22];

/// Why files are not a contract's sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the contract's bytecode does not end with the IPFS hash of its metadata")]
    NoHash,
    #[error("no metadata.json among the files: upload the one that the compiler wrote, or have it write one")]
    NoMetadata,
    #[error("the metadata is not the contract's: its IPFS hash is {found}, the bytecode has {expected}")]
    OtherMetadata { expected: B256, found: B256 },
    #[error("the metadata is not what a compiler writes: {0}")]
    Malformed(String),
    #[error("the metadata is larger than {METADATA_BYTES_MAX} bytes")]
    MetadataTooLarge,
    #[error("sources are missing, or are not those that were compiled: {}", .0.join(", "))]
    Missing(Vec<String>),
    #[error("there is no contract at this address")]
    NoContract,
    #[error("the contract's sources are there already")]
    Known,
    #[error("sources of more than {0} bytes")]
    TooLarge(usize),
}

/// The part of it that counts here.
#[derive(Deserialize)]
pub struct Metadata {
    pub sources: BTreeMap<String, Source>,
    pub settings: Settings,
}

#[derive(Deserialize)]
pub struct Source {
    pub keccak256: B256,
    /// In the metadata itself, if the compiler was told so.
    pub content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The source's path, and the contract's name in it.
    pub compilation_target: BTreeMap<String, String>,
}

impl Metadata {
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        serde_json::from_str(text).map_err(|error| Unfit::Malformed(error.to_string()))
    }

    /// Its sources out of `files`, which are told by their hashes: names are what uploaders make of them. Metadata may name one file
    /// under thousands of paths: what it makes of them is counted before it is copied.
    pub fn gather(self, files: &Files) -> Result<Files, Unfit> {
        let by_hash: BTreeMap<B256, &String> =
            files.values().map(|content| (keccak256(content.as_bytes()), content)).collect();
        let (mut found, mut missing) = (Files::new(), Vec::new());
        let mut bytes = 0_usize;
        for (path, source) in self.sources {
            let inside = source.content.filter(|content| keccak256(content.as_bytes()) == source.keccak256);
            let Some(content) = inside.as_ref().or_else(|| by_hash.get(&source.keccak256).copied()) else {
                missing.push(path);
                continue;
            };
            bytes = bytes.saturating_add(path.len()).saturating_add(content.len());
            if bytes > SOURCES_BYTES_MAX {
                return Err(Unfit::TooLarge(SOURCES_BYTES_MAX));
            }
            found.insert(path, content.clone());
        }
        if missing.is_empty() { Ok(found) } else { Err(Unfit::Missing(missing)) }
    }
}

/// The metadata among uploaded files, as the compiler wrote it: some tools lay it out anew, which is undone where the hash asks for it.
pub fn metadata_among(files: &Files, expected: &B256) -> Result<String, Unfit> {
    let mut other = Unfit::NoMetadata;
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".json")) {
        if text.len() > METADATA_BYTES_MAX {
            other = Unfit::MetadataTooLarge;
            continue;
        }
        let found = ipfs_hash(text.as_bytes());
        if found == *expected {
            return Ok(text.clone());
        }
        if let Some(compact) = compact(text).filter(|compact| ipfs_hash(compact.as_bytes()) == *expected) {
            return Ok(compact);
        }
        if name.ends_with("metadata.json") {
            other = Unfit::OtherMetadata { expected: *expected, found };
        }
    }
    Err(other)
}

/// JSON as the compiler writes it: members in the order of their names, no spaces, what is not ASCII escaped.
fn compact(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut out = String::with_capacity(text.len());
    for character in value.to_string().chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            let units =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            out.push_str(&units);
        }
    }
    Some(out)
}

/// The hash of its metadata that a contract's code ends with: CBOR, and its length in the last two bytes.
pub fn metadata_hash(code: &[u8]) -> Option<B256> {
    let (rest, length) = code.split_last_chunk::<2>()?;
    let start = rest.len().checked_sub(usize::from(u16::from_be_bytes(*length)))?;
    let cbor = rest.get(start..)?;
    let at = cbor.windows(IPFS_KEY.len()).position(|window| window == IPFS_KEY)?;
    let digest = cbor.get(at + IPFS_KEY.len()..)?.strip_prefix(&MULTIHASH_SHA256)?.get(..32)?;
    Some(B256::from_slice(digest))
}

/// The SHA-256 digest in the name that IPFS gives a file of one piece: of a node (dag-pb) that holds it (UnixFS).
pub fn ipfs_hash(content: &[u8]) -> B256 {
    // UnixFS: type 2 (a file), its bytes unless there are none, its size.
    let mut file = vec![0x08, 0x02];
    if !content.is_empty() {
        file.push(0x12);
        push_varint(&mut file, content.len());
        file.extend_from_slice(content);
    }
    file.push(0x18);
    push_varint(&mut file, content.len());
    let mut node = vec![0x0a];
    push_varint(&mut node, file.len());
    node.extend_from_slice(&file);
    B256::from(sha256(&node).0)
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
