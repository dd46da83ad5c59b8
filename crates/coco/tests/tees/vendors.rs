//! The vendors, and the machines that they made: kept in the test's own process, since a node must not be able to mint.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use coco_attestation::collateral::CollateralItem;
use coco_attestation::policy::{HardwareRule, NetworkPolicy, TdImage, VbsModuleRule};
use coco_attestation::{Evidence, ReportData, Rules, SnpTcb, TeeKind};
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::vbs::Windows;
use serde_json::{Value, json};

const CODE: [u8; 48] = [0xc0; 48];
const ENCLAVE: [u8; 32] = [0xc0; 32];
const OLD_FIRMWARE: u8 = 5;
/// Serial number of the authority above AMD's chips.
const ASK_SERIAL: u64 = 11;

pub struct Vendors {
    machines: Arc<Machines>,
    folder: tempfile::TempDir,
    at: u64,
}

struct Machines {
    amd: Amd,
    intel: Intel,
    nitro: Nitro,
    windows: Windows,
    /// Of the machine that runs the trust domain.
    td_firmware: AtomicU8,
    at: u64,
}

impl Vendors {
    pub fn new() -> Self {
        let at = now_s();
        let machines = Arc::new(Machines {
            amd: Amd::new(Product::Milan, at),
            intel: Intel::new(at),
            nitro: Nitro::new(at),
            windows: Windows::new(at),
            td_firmware: AtomicU8::new(OLD_FIRMWARE),
            at,
        });
        let vendors = Self { machines, folder: tempfile::tempdir().unwrap(), at };
        let listener = UnixListener::bind(vendors.socket()).unwrap();
        let machines = vendors.machines.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| machines.answer(stream)));
        vendors
    }

    /// Where nodes' devices ask.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("devices")
    }

    pub fn rules(&self, grace_s: u64) -> Rules {
        let mut rules = Rules::default();
        let Machines { amd, intel, nitro, windows, .. } = &*self.machines;
        amd.trust(&mut rules.anchors);
        intel.trust(&mut rules.anchors);
        nitro.trust(&mut rules.anchors);
        windows.trust(&mut rules.anchors);
        rules.collateral = intel.collateral(&intel.publication(self.at - 100));
        rules.collateral.push(amd.revocations(&[], self.at - 100));
        let policy = &mut rules.policy;
        policy.sev_snp.measurements.insert(hex::encode(CODE));
        policy.sev_snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb::default());
        policy.tdx.images.push(TdImage { mrtd: hex::encode(CODE), ..TdImage::default() });
        policy.sgx.enclaves.insert(hex::encode(ENCLAVE));
        policy.nitro.images.push([(0, hex::encode(CODE))].into());
        policy.vbs.modules.push(VbsModuleRule { unique_id: Some(hex::encode(ENCLAVE)), ..VbsModuleRule::default() });
        for tcb in [&mut policy.tdx.tcb, &mut policy.sgx.tcb] {
            tcb.statuses.insert("UpToDate".to_owned(), None);
        }
        policy.network = network_policy(grace_s);
        rules
    }

    /// The section about nodes together, with another time to renew.
    pub fn network_policy(&self, grace_s: u64) -> Value {
        let NetworkPolicy { hardware, allow_unidentified_hardware, max_per_kind, .. } = network_policy(grace_s);
        json!({
            "hardware": hardware,
            "allow_unidentified_hardware": allow_unidentified_hardware,
            "max_per_kind": max_per_kind,
            "grace_s": grace_s,
        })
    }

    /// Intel's texts after the recovery: firmware below 6 is out of date.
    pub fn recovery(&self) -> Vec<CollateralItem> {
        let intel = &self.machines.intel;
        let mut publication = intel.publication(self.at);
        (publication.evaluation, publication.up_to_date_from) = (18, OLD_FIRMWARE + 1);
        intel.collateral(&publication)
    }

    /// Signed and genuine, and older than what the recovery brought.
    pub fn first_tcb_info(&self) -> CollateralItem {
        let items = self.machines.intel.collateral(&self.machines.intel.publication(self.at - 50));
        items.into_iter().find(|item| matches!(item, CollateralItem::TcbInfo(_))).unwrap()
    }

    pub fn revocation(&self) -> CollateralItem {
        self.machines.amd.revocations(&[ASK_SERIAL], self.at)
    }

    pub fn update_td_firmware(&self) {
        self.machines.td_firmware.store(OLD_FIRMWARE + 1, Ordering::Relaxed);
    }
}

fn network_policy(grace_s: u64) -> NetworkPolicy {
    NetworkPolicy {
        max_per_kind: Some(1),
        hardware: HardwareRule::Unique,
        allow_unidentified_hardware: true,
        grace_s,
        ..NetworkPolicy::default()
    }
}

impl Machines {
    /// A line with the kind and the report data, a line with the evidence.
    fn answer(&self, mut stream: UnixStream) {
        let mut asked = String::new();
        // A node that is killed while it asks needs no answer.
        if BufReader::new(&stream).read_line(&mut asked).is_err() {
            return;
        }
        let (kind, data): (TeeKind, String) = serde_json::from_str(&asked).unwrap();
        let data = ReportData(hex::decode(data).unwrap().try_into().unwrap());
        let evidence = serde_json::to_string(&self.mint(kind, &data)).unwrap();
        drop(writeln!(stream, "{evidence}"));
    }

    fn mint(&self, kind: TeeKind, data: &ReportData) -> Evidence {
        let Self { amd, intel, nitro, windows, td_firmware, at } = self;
        match kind {
            TeeKind::SevSnp => amd.mint(&amd.report(CODE, 1), data),
            TeeKind::Tdx => {
                let mut platform = intel.platform(2);
                platform.svn = td_firmware.load(Ordering::Relaxed);
                intel.mint(&platform, &Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 }, data)
            }
            TeeKind::Sgx => {
                let guest = Guest::Enclave { mrenclave: ENCLAVE, mrsigner: [0x51; 32], flags: 5 };
                intel.mint(&intel.platform(3), &guest, data)
            }
            TeeKind::Nitro => nitro.mint(CODE, data, *at),
            TeeKind::Vbs => windows.mint(&windows.report(ENCLAVE), data),
            other => panic!("no machine of this test is a {other}"),
        }
    }
}

/// A device's question, from a node's process.
pub fn ask(socket: &Path, kind: TeeKind, data: &ReportData) -> Evidence {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{}", serde_json::to_string(&(kind, hex::encode(data.0))).unwrap()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
