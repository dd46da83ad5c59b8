//! One node, in a process of its own: what `coco node start` runs, on a machine whose devices ask the test's vendors.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs, io, thread};

use coco_attestation::sources::{Devices, detect};
use coco_attestation::{EvidenceSource, ReportData, TeeKind};
use coco_node::config::NodeConfig;
use coco_node::{NodeError, run_on};
use coco_records::Records;
use coco_testpki::Minted;
use coco_testpki::machine::Machine;

use crate::vendors::ask;

/// The node's configuration file, what it runs on, and where its devices ask.
pub const CONFIG: &str = "COCO_TEST_NODE";
pub const KIND: &str = "COCO_TEST_TEE";
pub const DEVICES: &str = "COCO_TEST_DEVICES";
/// How a node ends that the network has removed.
pub const REMOVED: i32 = 3;

pub fn run_if_told() {
    let Ok(config) = env::var(CONFIG) else { return };
    let config: NodeConfig = toml::from_str(&fs::read_to_string(config).unwrap()).unwrap();
    let kind: TeeKind = env::var(KIND).unwrap().parse().unwrap();
    let devices = PathBuf::from(env::var(DEVICES).unwrap());
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let (stop, stopped) = std::sync::mpsc::channel();
    // It does not outlive the test.
    thread::spawn(move || {
        drop(io::stdin().lock().read_to_end(&mut Vec::new()));
        let _ = stop.send(());
    });
    match run_on(platform(kind, devices), config, vec![Arc::new(Records)], &stopped) {
        Ok(()) => {}
        Err(NodeError::Removed) => std::process::exit(REMOVED),
        Err(error) => panic!("{error}"),
    }
}

/// Found as on a real machine, by its devices. Nothing of Coco runs inside a VBS enclave yet, so that one's evidence comes from nowhere.
fn platform(kind: TeeKind, devices: PathBuf) -> Arc<dyn EvidenceSource> {
    let mint = move |data: &ReportData| ask(&devices, kind, data);
    let machine = match kind {
        TeeKind::SevSnp => Machine::with_sev_guest(Box::new(mint)),
        TeeKind::Tdx => Machine::with_tsm("tdx_guest", Box::new(mint)),
        TeeKind::Sgx => Machine::with_gramine(Box::new(mint)),
        TeeKind::Nitro => Machine::with_nsm(Box::new(mint)),
        kind => return Arc::new(Minted { kind, mint }),
    };
    let found = detect(Arc::new(machine) as Arc<dyn Devices>).unwrap().expect("a machine with a device");
    assert_eq!(found.kind(), kind);
    found.into()
}
