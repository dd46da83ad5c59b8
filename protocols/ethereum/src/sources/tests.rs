use alloy_primitives::hex;

use super::*;

const METADATA: &str = include_str!("../../testdata/sources/metadata.json");
const CODE: &str = include_str!("../../testdata/sources/Greeter.hex");

/// As a tool uploads them, whatever it calls them.
fn files() -> Files {
    let files = [
        ("metadata.json", METADATA),
        ("Greeter.sol", include_str!("../../testdata/sources/Greeter.sol")),
        ("b.sol", include_str!("../../testdata/sources/Named.sol")),
    ];
    files.map(|(name, content)| (name.to_owned(), content.to_owned())).into()
}

fn code() -> Vec<u8> {
    hex::decode(CODE.trim()).unwrap()
}

fn without(name: &str) -> Files {
    files().into_iter().filter(|(file, _)| file != name).collect()
}

#[test]
fn the_bytecode_that_solc_made_leads_to_its_metadata_and_sources() {
    let upload = SourceUpload::of(Address::ZERO, &code(), &files()).unwrap();
    assert_eq!(upload.metadata, METADATA);
    let paths: Vec<&String> = upload.sources.keys().collect();
    assert_eq!(paths, ["contracts/Greeter.sol", "contracts/lib/Named.sol"]);
    assert_eq!(SourceUpload::decode(&upload.encode()), Some(upload));
}

#[test]
fn metadata_that_a_tool_has_laid_out_anew_is_the_same() {
    let value: serde_json::Value = serde_json::from_str(METADATA).unwrap();
    let mut files = files();
    files.insert("metadata.json".to_owned(), serde_json::to_string_pretty(&value).unwrap());
    assert_eq!(SourceUpload::of(Address::ZERO, &code(), &files).unwrap().metadata, METADATA);
}

#[test]
fn a_missing_or_changed_source_is_named() {
    let missing = |files| SourceUpload::of(Address::ZERO, &code(), &files).unwrap_err();
    assert_eq!(missing(without("b.sol")), Unfit::Missing(vec!["contracts/lib/Named.sol".to_owned()]));
    let mut changed = files();
    changed.get_mut("Greeter.sol").unwrap().push(' ');
    assert_eq!(missing(changed), Unfit::Missing(vec!["contracts/Greeter.sol".to_owned()]));
    assert_eq!(missing(without("metadata.json")), Unfit::NoMetadata);
}

#[test]
fn metadata_of_another_contract_is_refused() {
    let mut other = files();
    other.insert("metadata.json".to_owned(), METADATA.replace("hello", "hallo") + " ");
    let unfit = SourceUpload::of(Address::ZERO, &code(), &other).unwrap_err();
    assert!(matches!(unfit, Unfit::OtherMetadata { .. }), "{unfit}");
    for end in [&[][..], &[0], &[0xff; 2], &[0; 60]] {
        assert_eq!(SourceUpload::of(Address::ZERO, end, &files()).unwrap_err(), Unfit::NoHash);
    }
}

#[test]
fn hashes_are_those_of_ipfs() {
    // The empty file, and "hello world\n", as `ipfs add` names them: QmbFMke1KX…, QmT78zSuBm….
    let empty = hex!("bfccda787baba32b59c78450ac3d20b633360b43992c77289f9ed46d843561e6");
    assert_eq!(ipfs_hash(b"").0, empty);
    let hello = hex!("46d44814b9c5af141c3aaab7c05dc5e844ead5f91f12858b021eba45768b4c0e");
    assert_eq!(ipfs_hash(b"hello world\n").0, hello);
}

#[test]
fn uploads_that_are_cut_or_hold_more_than_they_name_are_refused() {
    let upload = SourceUpload::of(Address::ZERO, &code(), &files()).unwrap();
    let encoded = upload.encode();
    for end in 0..encoded.len().min(300) {
        assert_eq!(SourceUpload::decode(&encoded[..end]), None);
    }
    let admit = |upload: &SourceUpload| SourceUpload::admit(upload.encode(), coco_protocol::Caller::Anonymous);
    assert!(admit(&upload).is_ok());
    let mut more = upload.clone();
    more.sources.insert("extra.sol".to_owned(), "contract Extra {}".to_owned());
    assert!(admit(&more).unwrap_err().message.contains("does not name"));
    let mut large = upload;
    large.sources.insert("large.sol".to_owned(), " ".repeat(SOURCES_BYTES_MAX));
    assert!(admit(&large).unwrap_err().message.contains("more than"));
}

#[test]
fn metadata_that_names_one_file_under_many_paths_is_refused_before_it_is_copied_for_each() {
    let content = " ".repeat(SOURCES_BYTES_MAX / 8);
    let source = serde_json::json!({"keccak256": alloy_primitives::keccak256(&content)});
    let metadata = |count: usize| {
        let sources: serde_json::Map<_, _> = (0..count).map(|at| (format!("{at}.sol"), source.clone())).collect();
        let metadata = serde_json::json!({"sources": sources, "settings": {"compilationTarget": {}}});
        Metadata::parse(&metadata.to_string()).unwrap()
    };
    let files = Files::from([("a.sol".to_owned(), content.clone())]);
    assert_eq!(metadata(7).gather(&files).map(|found| found.len()), Ok(7));
    let refused = metadata(10_000).gather(&files);
    assert_eq!(refused, Err(Unfit::TooLarge(SOURCES_BYTES_MAX)));
}
