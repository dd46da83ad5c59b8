//! `console.log` of Solidity contracts: calls to an address without code, of which developers' nodes show the arguments.
//!
//! The functions are those of hardhat's `console.sol`: `log` with up to four arguments of the types uint256, string, bool and
//! address, also under the selectors of its older form (`uint`), and `logBytes32` and its like with one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use alloy_primitives::{Address, I256, U256, address, hex, keccak256};
use revm::context_interface::ContextTr;
use revm::inspector::Inspector;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CallOutcome};

const CONSOLE: Address = address!("000000000000000000636F6e736F6c652e6c6f67");
/// A line is cut after so many characters.
const LINE_CHARS_MAX: usize = 4_096;
/// What `coco dev` looks for in the node's log.
pub const TARGET: &str = "console.log";

/// Tells what is written, as log lines.
pub struct Console;

impl<CTX: ContextTr> Inspector<CTX, EthInterpreter> for Console {
    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        if inputs.target_address == CONSOLE
            && let Some(line) = line(&inputs.input.bytes(context))
        {
            tracing::info!(target: TARGET, "{line}");
        }
        None
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Uint,
    Int,
    String,
    Bool,
    Address,
    Bytes,
    Fixed(usize),
}

/// What a call says; `None` if it is none of the known functions.
fn line(input: &[u8]) -> Option<String> {
    let (selector, arguments) = input.split_first_chunk::<4>()?;
    let kinds = signatures().get(selector)?;
    let texts = kinds.iter().enumerate().map(|(index, kind)| text(arguments, index, *kind));
    let texts: Option<Vec<String>> = texts.collect();
    let line = formatted(&texts?, matches!(kinds.first(), Some(Kind::String))).replace(['\n', '\r'], " ");
    Some(line.chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect())
}

/// The arguments one after the other, in the places that the first one names (`%s`, `%d`), if it is text.
fn formatted(texts: &[String], has_places: bool) -> String {
    let Some((first, others)) = texts.split_first().filter(|_| has_places) else { return texts.join(" ") };
    let mut others = others.iter();
    let mut out = String::new();
    let mut rest = first.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let is_place = after.starts_with(['s', 'd', 'i', 'o', 'O', 'f']);
        match others.as_slice().first().filter(|_| is_place) {
            Some(text) => {
                out.push_str(text);
                others.next();
                rest = after.get(1..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    for other in others {
        out.push(' ');
        out.push_str(other);
    }
    out
}

fn text(arguments: &[u8], index: usize, kind: Kind) -> Option<String> {
    let word = arguments.get(index * 32..index * 32 + 32)?;
    Some(match kind {
        Kind::Uint => U256::from_be_slice(word).to_string(),
        Kind::Int => I256::from_raw(U256::from_be_slice(word)).to_string(),
        Kind::Bool => (!U256::from_be_slice(word).is_zero()).to_string(),
        Kind::Address => Address::from_slice(word.get(12..)?).to_checksum(None),
        Kind::Fixed(bytes) => hex::encode_prefixed(word.get(..bytes)?),
        Kind::String => String::from_utf8_lossy(dynamic(arguments, word)?).into_owned(),
        Kind::Bytes => hex::encode_prefixed(dynamic(arguments, word)?),
    })
}

fn dynamic<'a>(arguments: &'a [u8], offset: &[u8]) -> Option<&'a [u8]> {
    let rest = arguments.get(usize::try_from(U256::from_be_slice(offset)).ok()?..)?;
    let (length, bytes) = rest.split_first_chunk::<32>()?;
    bytes.get(..usize::try_from(U256::from_be_slice(length)).ok()?)
}

fn signatures() -> &'static BTreeMap<[u8; 4], Vec<Kind>> {
    static SIGNATURES: OnceLock<BTreeMap<[u8; 4], Vec<Kind>>> = OnceLock::new();
    SIGNATURES.get_or_init(|| {
        let mut found = BTreeMap::new();
        let mut enter = |signature: String, kinds: Vec<Kind>| {
            let hash = keccak256(signature);
            found.insert([hash[0], hash[1], hash[2], hash[3]], kinds);
        };
        for uint in ["uint256", "uint"] {
            let types =
                [(uint, Kind::Uint), ("string", Kind::String), ("bool", Kind::Bool), ("address", Kind::Address)];
            let mut lists: Vec<Vec<(&str, Kind)>> = vec![Vec::new()];
            for _ in 0..=4 {
                for list in &lists {
                    let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
                    enter(format!("log({})", names.join(",")), list.iter().map(|(_, kind)| *kind).collect());
                }
                let longer = |list: &Vec<_>| types.map(|each| [&list[..], &[each]].concat());
                lists = lists.iter().flat_map(longer).collect();
            }
        }
        let singles = [
            ("log(int256)", Kind::Int),
            ("log(int)", Kind::Int),
            ("log(bytes)", Kind::Bytes),
            ("logInt(int256)", Kind::Int),
            ("logInt(int)", Kind::Int),
            ("logUint(uint256)", Kind::Uint),
            ("logUint(uint)", Kind::Uint),
            ("logString(string)", Kind::String),
            ("logBool(bool)", Kind::Bool),
            ("logAddress(address)", Kind::Address),
            ("logBytes(bytes)", Kind::Bytes),
        ];
        singles.into_iter().for_each(|(signature, kind)| enter(signature.to_owned(), vec![kind]));
        (1..=32).for_each(|bytes| enter(format!("logBytes{bytes}(bytes{bytes})"), vec![Kind::Fixed(bytes)]));
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(signature: &str, words: &[U256], tail: &[u8]) -> Vec<u8> {
        let words = words.iter().flat_map(|word| word.to_be_bytes::<32>());
        [&keccak256(signature)[..4], &words.collect::<Vec<u8>>(), tail].concat()
    }

    #[test]
    fn what_contracts_write_is_shown_as_they_wrote_it() {
        let mut hello = [0; 64];
        hello[31] = 5;
        hello[32..37].copy_from_slice(b"he\nlo");
        let mixed = call("log(string,uint256,bool)", &[U256::from(96), U256::from(7), U256::ONE], &hello);
        assert_eq!(line(&mixed).unwrap(), "he lo 7 true");
        hello[32..37].copy_from_slice(b"%d %x");
        let placed = call("log(string,uint256,bool)", &[U256::from(96), U256::from(7), U256::ONE], &hello);
        assert_eq!(line(&placed).unwrap(), "7 %x true");
        assert_eq!(line(&call("log(uint)", &[U256::MAX], &[])).unwrap(), U256::MAX.to_string());
        assert_eq!(line(&call("log(int256)", &[U256::MAX], &[])).unwrap(), "-1");
        assert_eq!(line(&call("log()", &[], &[])).unwrap(), "");
        assert_eq!(line(&call("logBytes2(bytes2)", &[U256::from(0xabcd) << 240], &[])).unwrap(), "0xabcd");
        let four = call("log(address,address,address,address)", &[U256::ONE; 4], &[]);
        assert_eq!(line(&four).unwrap().split(' ').count(), 4);
    }

    #[test]
    fn hostile_arguments_are_no_line() {
        for (words, tail) in [(&[U256::MAX][..], &[][..]), (&[U256::from(32), U256::MAX], &[]), (&[], &[1, 2, 3])] {
            assert_eq!(line(&call("log(string)", words, tail)), None);
        }
        assert_eq!(line(&call("transfer(address)", &[U256::ONE], &[])), None);
        assert_eq!(line(&[1, 2]), None);
    }
}
