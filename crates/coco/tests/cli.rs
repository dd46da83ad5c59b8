//! The command as users meet it: exit codes, one line of error, JSON on request, and audits of the golden ledger.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

#[test]
fn a_wrong_command_line_exits_with_2_and_a_failure_with_1() {
    assert_eq!(coco(&["fly"]).status.code(), Some(2));
    assert_eq!(coco(&["ledger", "verify"]).status.code(), Some(2));
    assert_eq!(coco(&["ledger", "verify", "/nowhere"]).status.code(), Some(1));
    assert_eq!(coco(&["--version"]).status.code(), Some(0));
}

#[test]
fn options_of_who_and_where_stand_after_every_proposal() {
    let nowhere = "/nowhere/file.pem";
    let id = "a".repeat(64);
    for action in [
        &["open", nowhere][..],
        &["set-member", nowhere, "--name", "Bank"],
        &["remove-member", &id],
        &["set-voting-policy", "roles", "--of-role", "auditor=1"],
        &["file", nowhere],
    ] {
        let options = ["--api", "https://127.0.0.1:1", "--service", nowhere, "--cert", nowhere, "--key", nowhere];
        let output = coco(&[&["gov", "propose"], action, &options].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{action:?}: {error}");
    }
}

#[test]
fn an_error_is_one_line_with_a_hint_under_it() {
    let output = coco(&["receipt", "verify", &golden("receipt.cose"), "--service", "/nowhere/cert.pem"]);
    let error = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].starts_with("error: /nowhere/cert.pem: ") && lines[1].starts_with("hint: "), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_worth_telling() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_coco"))
        .args(["ledger", "show", &golden("ledger")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), b"".as_slice()));
}

#[test]
#[cfg(target_os = "linux")]
fn a_failure_that_nobody_can_be_told_of_still_has_its_exit_code() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status =
        Command::new(env!("CARGO_BIN_EXE_coco")).args(["ledger", "verify", "/nowhere"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = coco(&["completions", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("receipt"), "{shell}");
    }
}

#[test]
fn a_ledger_is_verified_from_its_files_alone() {
    let text = stdout(&coco(&["ledger", "verify", &golden("ledger"), "--service", &golden("service_cert.pem")]));
    assert!(text.starts_with("verified: "), "{text}");
    assert!(text.ends_with("sealed parts: authenticated, not opened\n"), "{text}");
    let opened = stdout(&coco(&["ledger", "verify", &golden("ledger"), "--secrets", &golden("ledger_secrets.txt")]));
    assert!(opened.ends_with(" opened\n") && !opened.contains("not opened"), "{opened}");
    let json = stdout(&coco(&["ledger", "verify", &golden("ledger"), "--output", "json"]));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(report["transactions"].as_u64() > Some(0), "{json}");
}

#[test]
fn a_ledger_with_one_changed_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let names = std::fs::read_dir(golden("ledger")).unwrap().map(|entry| entry.unwrap());
    for (i, entry) in names.enumerate() {
        let mut bytes = std::fs::read(entry.path()).unwrap();
        if i == 0 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        std::fs::write(folder.path().join(entry.file_name()), bytes).unwrap();
    }
    let output = coco(&["ledger", "verify", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

#[test]
fn complete_chunks_are_archived_once_and_an_archive_that_is_not_what_it_was_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let (ledger, service, to) = (golden("ledger"), golden("service_cert.pem"), archive.to_str().unwrap());
    let arguments = ["ledger", "archive", &ledger, "--to", to, "--service", &service];
    let first = stdout(&coco(&arguments));
    assert!(first.starts_with("2 chunks copied; the archive has 2, ") && first.contains("12 transactions"), "{first}");
    assert!(stdout(&coco(&arguments)).starts_with("0 chunks copied; "));
    let verified = stdout(&coco(&["ledger", "verify", to, "--service", &service]));
    assert!(verified.starts_with("verified: 12 transactions in 2 files"), "{verified}");

    let chunk = archive.join("ledger_1-6.committed");
    let whole = std::fs::read(&chunk).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&chunk, changed).unwrap();
    let refused = coco(&arguments);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("these are two ledgers"), "{why}");
    // Its own list knows what is gone, whatever else would fill the gap.
    std::fs::write(&chunk, whole).unwrap();
    let emptied = folder.path().join("empty");
    std::fs::create_dir(&emptied).unwrap();
    std::fs::remove_file(archive.join("ledger_7-12.committed")).unwrap();
    let refused = coco(&["ledger", "archive", emptied.to_str().unwrap(), "--to", to]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("ledger_7-12.committed was archived before"), "{why}");
}

#[test]
fn old_chunks_leave_a_node_only_for_an_archive_that_has_them_and_come_back_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    for name in ["data/ledger", "data/snapshots", "archive"] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    for name in ["ledger_1-6.committed", "ledger_7-12.committed"] {
        std::fs::copy(format!("{}/{name}", golden("ledger")), path("data/ledger").join(name)).unwrap();
    }
    let (ledger, archive, service) = (text("data/ledger"), text("archive"), golden("service_cert.pem"));
    let prune = |more: &[&str]| {
        coco(&[&["ledger", "prune", &ledger, "--archive", &archive, "--service", &service], more].concat())
    };
    let refused = |output: Output, why: &str| {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(why), "{error}");
    };
    refused(prune(&[]), "has none of the chunks");
    stdout(&coco(&["ledger", "archive", &ledger, "--to", &archive, "--service", &service]));
    refused(prune(&[]), "0 snapshots");
    for seqno in [6, 12] {
        std::fs::write(path("data/snapshots").join(format!("snapshot_{seqno}")), "").unwrap();
    }
    refused(coco(&["ledger", "prune", &ledger, "--archive", &ledger]), "nothing would be left");
    assert!(stdout(&prune(&["--keep", "2"])).starts_with("0 chunks, 0 bytes removed"));
    assert!(stdout(&prune(&["--dry-run"])).starts_with("1 chunks, "));
    assert!(path("data/ledger/ledger_1-6.committed").exists());

    let chunk = path("archive/ledger_1-6.committed");
    let whole = std::fs::read(&chunk).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&chunk, changed).unwrap();
    refused(prune(&[]), "ledger_1-6.committed");
    std::fs::write(&chunk, &whole).unwrap();

    let pruned = stdout(&prune(&[]));
    assert!(pruned.starts_with("1 chunks, ") && pruned.contains("begins behind 2.6"), "{pruned}");
    assert!(!path("data/ledger/ledger_1-6.committed").exists() && path("data/ledger/ledger_7-12.committed").exists());
    let verified = stdout(&coco(&["ledger", "verify", &ledger, "--service", &service]));
    assert!(verified.contains("2.6"), "{verified}");
    assert!(stdout(&prune(&[])).starts_with("0 chunks"));
    // The list of what was taken out holds the archive to it, also one that begins anew without its own list.
    let list = std::fs::read(path("archive/archive.json")).unwrap();
    std::fs::remove_file(path("archive/archive.json")).unwrap();
    std::fs::remove_file(&chunk).unwrap();
    let archiving = || coco(&["ledger", "archive", &ledger, "--to", &archive, "--service", &service]);
    refused(archiving(), "was taken out of");
    std::fs::write(&chunk, &whole).unwrap();
    std::fs::write(path("archive/archive.json"), list).unwrap();
    stdout(&archiving());

    let restore = || coco(&["ledger", "restore", &archive, "--to", &ledger, "--service", &service]);
    let gap = path("data/ledger/ledger_1-6.committed");
    std::fs::write(&gap, "another").unwrap();
    refused(restore(), "ledger_1-6.committed is not the archive's");
    std::fs::remove_file(&gap).unwrap();
    let restored = stdout(&restore());
    assert!(restored.starts_with("1 chunks, ") && restored.contains("begins with its first"), "{restored}");
    assert_eq!(std::fs::read(&gap).unwrap(), whole);
    assert!(stdout(&restore()).starts_with("0 chunks, "));
    assert!(stdout(&coco(&["ledger", "verify", &ledger, "--service", &service])).starts_with("verified: 12 "));
}

#[test]
fn a_support_bundle_tells_what_the_host_sees_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let canary = "5f".repeat(32);
    std::fs::create_dir(path("data")).unwrap();
    std::fs::write(path("data/identity.sealed"), &canary).unwrap();
    std::fs::write(path("node.log"), "leading\n").unwrap();
    // Nothing listens at port 1.
    let config = format!(
        "index = 0\ndata = {:?}\n[listen]\napi = \"127.0.0.1:1\"\npeers = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:1\"\n\
         [start]\nhow = \"new\"\ngenesis = \"genesis.json\"\n[ledgers.ethereum]\nunlocked = [{canary:?}]\n",
        path("data")
    );
    std::fs::write(path("node.toml"), config).unwrap();
    let (config, log, out) = (path("node.toml"), path("node.log"), path("bundle.json"));
    let said = stdout(&coco(&["node", "support-bundle", "--config", &config, "--log", &log, "--out", &out]));
    assert!(said.contains("not in it: metrics: "), "{said}");
    let bundle = std::fs::read_to_string(&out).unwrap();
    assert!(!bundle.contains(&canary), "{bundle}");
    let bundle: serde_json::Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(bundle["files"]["identity.sealed"], 64);
    assert_eq!(bundle["configuration"]["listen"]["api"], "127.0.0.1:1");
    assert_eq!(bundle["log"][0], "leading");
}

#[test]
fn a_ledger_is_shown_transaction_by_transaction() {
    let shown = stdout(&coco(&["ledger", "show", &golden("ledger"), "--from", "2", "--to", "4", "--output", "json"]));
    let seqnos: Vec<_> = shown
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["transaction_id"].as_str().unwrap().to_owned()
        })
        .map(|txid| txid.split_once('.').unwrap().1.to_owned())
        .collect();
    assert_eq!(seqnos, ["2", "3", "4"]);
}

#[test]
fn a_receipt_is_verified_offline_and_a_changed_one_refused() {
    let service = golden("service_cert.pem");
    for receipt in ["receipt.cose", "receipt.json"] {
        let text = stdout(&coco(&["receipt", "verify", &golden(receipt), "--service", &service]));
        assert!(text.starts_with("valid: "), "{text}");
    }
    let with_claims =
        ["receipt", "verify", &golden("receipt.cose"), "--service", &service, "--claims", &golden("claims.cbor")];
    assert!(stdout(&coco(&with_claims)).contains("claims: "));

    let folder = tempfile::tempdir().unwrap();
    let forged = folder.path().join("receipt.cose");
    let mut bytes = std::fs::read(golden("receipt.cose")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&forged, bytes).unwrap();
    let output = coco(&["receipt", "verify", forged.to_str().unwrap(), "--service", &service]);
    assert_eq!(output.status.code(), Some(1));
}

fn coco(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coco")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A file of the ledger crate's golden data.
fn golden(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ledger/testdata");
    folder.join(name).to_str().unwrap().to_owned()
}
