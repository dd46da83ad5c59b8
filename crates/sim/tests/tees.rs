//! One network of several TEEs, with evidence in the real formats under roots that exist in tests only.

use std::sync::Arc;

use coco_attestation::policy::TdImage;
use coco_attestation::{EvidenceSource, ReportData, SnpTcb, TeeKind};
use coco_governance::attestation::AttestationGenesis;
use coco_governance::{NodeStatus, attestation};
use coco_protocol::Submitted;
use coco_sim::{Options, World};
use coco_testpki::Minted;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};

const AT: u64 = 1_790_000_000;
const CODE: [u8; 48] = [0xc0; 48];
const SOON_MS: u64 = 30_000;
const GRACE_S: u64 = 20;

struct Vendors {
    amd: Arc<Amd>,
    intel: Arc<Intel>,
    nitro: Arc<Nitro>,
}

impl Vendors {
    fn genesis(&self) -> AttestationGenesis {
        let mut genesis = AttestationGenesis::default();
        self.amd.trust(&mut genesis.anchors);
        self.intel.trust(&mut genesis.anchors);
        self.nitro.trust(&mut genesis.anchors);
        genesis.collateral = self.intel.collateral(&self.intel.publication(AT - 100));
        genesis.collateral.push(self.amd.revocations(&[], AT - 100));
        let policy = &mut genesis.policy;
        policy.sev_snp.measurements.insert(hex(&CODE));
        policy.sev_snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb::default());
        policy.tdx.images.push(TdImage { mrtd: hex(&CODE), ..TdImage::default() });
        policy.sgx.enclaves.insert("c0".repeat(32));
        policy.nitro.images.push([(0, hex(&CODE))].into());
        for tcb in [&mut policy.tdx.tcb, &mut policy.sgx.tcb] {
            tcb.statuses.insert("UpToDate".to_owned(), None);
        }
        policy.network.grace_s = GRACE_S;
        genesis
    }

    fn machine(&self, kind: TeeKind, number: u8) -> Arc<dyn EvidenceSource> {
        let (amd, intel, nitro) = (self.amd.clone(), self.intel.clone(), self.nitro.clone());
        let mint = move |data: &ReportData| match kind {
            TeeKind::SevSnp => amd.mint(&amd.report(CODE, number), data),
            TeeKind::Nitro => nitro.mint(CODE, data, AT),
            TeeKind::Tdx => {
                let guest = Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 };
                intel.mint(&intel.platform(number), &guest, data)
            }
            _ => {
                let guest = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };
                intel.mint(&intel.platform(number), &guest, data)
            }
        };
        Arc::new(Minted { kind, mint })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn voters(world: &World) -> usize {
    let membership = world.primary().map(|id| world.membership(id)).unwrap_or_default();
    if membership.is_joint() { 0 } else { membership.voters.len() }
}

fn submit(world: &mut World) {
    let primary = world.primary().expect("a quiet network has a primary");
    let id = world.submit(primary, "counter");
    world.run_until(SOON_MS, "an answer", |world| world.answer(id).is_some()).unwrap();
    assert!(matches!(world.answer(id), Some(Submitted::Committed { .. })), "{:?}", world.answer(id));
}

#[test]
fn a_network_of_five_tees_works_and_survives_a_tcb_recovery_of_two_of_them() {
    let vendors = Vendors {
        amd: Arc::new(Amd::new(Product::Milan, AT)),
        intel: Arc::new(Intel::new(AT)),
        nitro: Arc::new(Nitro::new(AT)),
    };
    let options = Options { attestation: vendors.genesis(), start_ms: AT * 1000, ..Options::default() };
    let mut world = World::quiet(1, 1, options).unwrap();
    for (place, kind) in [(1, TeeKind::SevSnp), (2, TeeKind::Tdx), (3, TeeKind::Sgx), (4, TeeKind::Nitro)] {
        let number = u8::try_from(place).unwrap();
        world.tees.insert(place, vendors.machine(kind, number));
        world.admit(place).unwrap();
        world.run_until(SOON_MS, kind.as_str(), |world| voters(world) == place as usize + 1).unwrap();
        submit(&mut world);
    }
    let now_s = world.now_ms() / 1000;
    let mut recovery = vendors.intel.publication(now_s);
    (recovery.up_to_date_from, recovery.evaluation) = (6, 18);
    for item in vendors.intel.collateral(&recovery) {
        world.submit_collateral(item);
    }
    submit(&mut world);
    world.reappraise().unwrap();
    submit(&mut world);
    assert_eq!(voters(&world), 5, "at risk is not out");
    for _ in 0..GRACE_S {
        world.run_for(1_100).unwrap();
        submit(&mut world);
    }
    world.reappraise().unwrap();
    world.run_until(SOON_MS, "both to be out", |world| voters(world) == 3).unwrap();
    submit(&mut world);
    let primary = world.primary().unwrap();
    let state = &mut world.node(primary).machines.as_ref().unwrap().visible.state();
    let retired = coco_governance::NodeRow::all(state).unwrap();
    let mut retired: Vec<&str> = retired
        .iter()
        .filter(|node| node.info.status == NodeStatus::Retired)
        .map(|node| node.info.quote_info.kind.as_str())
        .collect();
    retired.sort_unstable();
    assert_eq!(retired, ["sgx", "tdx"]);
    assert!(attestation::next_deadline(state).unwrap().is_none());
}
