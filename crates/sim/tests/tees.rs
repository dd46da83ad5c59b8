//! One network of several TEEs under load, with evidence in the real formats under roots that exist in tests only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use coco_attestation::policy::{TdImage, VbsModuleRule};
use coco_attestation::{EvidenceSource, ReportData, Rules, SnpTcb, TeeKind};
use coco_governance::attestation::{Appraisal, AppraisalState};
use coco_governance::{NodeRow, NodeStatus, attestation, tables};
use coco_protocol::Submitted;
use coco_sim::{Options, World};
use coco_testpki::Minted;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::vbs::Windows;
use coco_types::ReplicaId;

const AT: u64 = 1_790_000_000;
const CODE: [u8; 48] = [0xc0; 48];
const SOON_MS: u64 = 30_000;
const GRACE_S: u64 = 20;
/// Submissions in flight at any time.
const LOAD: usize = 20;
const KINDS: [(u32, TeeKind); 5] =
    [(1, TeeKind::SevSnp), (2, TeeKind::Tdx), (3, TeeKind::Sgx), (4, TeeKind::Nitro), (5, TeeKind::Vbs)];

struct Vendors {
    amd: Arc<Amd>,
    intel: Arc<Intel>,
    nitro: Arc<Nitro>,
    windows: Arc<Windows>,
    /// Firmware of the machine that runs the trust domain, which its operator can update.
    td_firmware: Arc<AtomicU8>,
}

impl Vendors {
    fn new() -> Self {
        Self {
            amd: Arc::new(Amd::new(Product::Milan, AT)),
            intel: Arc::new(Intel::new(AT)),
            nitro: Arc::new(Nitro::new(AT)),
            windows: Arc::new(Windows::new(AT)),
            td_firmware: Arc::new(AtomicU8::new(5)),
        }
    }

    fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        self.amd.trust(&mut rules.anchors);
        self.intel.trust(&mut rules.anchors);
        self.nitro.trust(&mut rules.anchors);
        self.windows.trust(&mut rules.anchors);
        rules.collateral = self.intel.collateral(&self.intel.publication(AT - 100));
        rules.collateral.push(self.amd.revocations(&[], AT - 100));
        let policy = &mut rules.policy;
        policy.sev_snp.measurements.insert(hex(&CODE));
        policy.sev_snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb::default());
        policy.tdx.images.push(TdImage { mrtd: hex(&CODE), ..TdImage::default() });
        policy.sgx.enclaves.insert("c0".repeat(32));
        policy.nitro.images.push([(0, hex(&CODE))].into());
        let module = VbsModuleRule { unique_id: Some("c0".repeat(32)), ..VbsModuleRule::default() };
        policy.vbs.modules.push(module);
        for tcb in [&mut policy.tdx.tcb, &mut policy.sgx.tcb] {
            tcb.statuses.insert("UpToDate".to_owned(), None);
        }
        policy.network.grace_s = GRACE_S;
        rules
    }

    fn machine(&self, kind: TeeKind, number: u8) -> Arc<dyn EvidenceSource> {
        let (amd, intel, nitro) = (self.amd.clone(), self.intel.clone(), self.nitro.clone());
        let (windows, td_firmware) = (self.windows.clone(), self.td_firmware.clone());
        let mint = move |data: &ReportData| match kind {
            TeeKind::SevSnp => amd.mint(&amd.report(CODE, number), data),
            TeeKind::Nitro => nitro.mint(CODE, data, AT),
            TeeKind::Vbs => windows.mint(&windows.report([0xc0; 32]), data),
            TeeKind::Tdx => {
                let mut platform = intel.platform(number);
                platform.svn = td_firmware.load(Ordering::Relaxed);
                intel.mint(&platform, &Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 }, data)
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

/// A founder without protection, and one node of each kind, each admitted while clients write.
fn network(vendors: &Vendors) -> World {
    let options = Options { attestation: vendors.rules(), start_ms: AT * 1000, ..Options::default() };
    let mut world = World::quiet(1, 1, options).unwrap();
    for (place, kind) in KINDS {
        world.tees.insert(place, vendors.machine(kind, u8::try_from(place).unwrap()));
        under_load(&mut world, |world| {
            world.admit(place).unwrap();
            world.run_until(SOON_MS, kind.as_str(), |world| voters(world) == place as usize + 1).unwrap();
        });
    }
    world
}

fn voters(world: &World) -> usize {
    let membership = world.primary().map(|id| world.membership(id)).unwrap_or_default();
    if membership.is_joint() { 0 } else { membership.voters.len() }
}

/// Clients write before and while `work` happens; each of their writes commits.
fn under_load(world: &mut World, work: impl FnOnce(&mut World)) {
    let primary = world.primary().expect("a quiet network has a primary");
    let ids: Vec<_> = (0..LOAD).map(|_| world.submit(primary, "counter")).collect();
    work(world);
    world.run_until(SOON_MS, "answers", |world| ids.iter().all(|id| world.answer(*id).is_some())).unwrap();
    for id in ids {
        assert!(matches!(world.answer(id), Some(Submitted::Committed { .. })), "{:?}", world.answer(id));
    }
}

/// So many seconds go by, with clients writing, and nodes judged again at the end.
fn wait_and_judge(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        under_load(world, |world| world.run_for(1_000).unwrap());
    }
    under_load(world, |world| world.reappraise().unwrap());
}

/// How each kind stands, as the primary's ledger has it.
fn standing(world: &World) -> BTreeMap<&'static str, &'static str> {
    let state = &mut world.node(world.primary().unwrap()).machines.as_ref().unwrap().visible.state();
    let nodes = NodeRow::all(state).unwrap();
    let of = |node: &NodeRow, state: &mut dyn coco_governance::Read| {
        let word = match Appraisal::read(state, node.id).unwrap().unwrap().state {
            AppraisalState::Trusted => "trusted",
            AppraisalState::AtRisk { .. } => "at risk",
            AppraisalState::Overdue { .. } => "overdue",
            AppraisalState::Retired { .. } => "retired",
        };
        assert_eq!(word == "retired", node.info.status == NodeStatus::Retired);
        (node.info.quote_info.kind.as_str(), word)
    };
    nodes.iter().map(|node| of(node, state)).collect()
}

fn replica_at(world: &World, kind: TeeKind) -> ReplicaId {
    let state = &mut world.node(world.primary().unwrap()).machines.as_ref().unwrap().visible.state();
    let nodes = NodeRow::all(state).unwrap();
    nodes.iter().find(|node| node.info.quote_info.kind == kind).unwrap().info.replica
}

fn expect(world: &World, expected: [(&'static str, &'static str); 6]) {
    assert_eq!(standing(world), expected.into());
}

#[test]
fn a_network_of_five_tees_survives_a_tcb_recovery_and_a_revocation_under_load() {
    let vendors = Vendors::new();
    let mut world = network(&vendors);
    let trusted = |kind| (kind, "trusted");
    expect(&world, ["nitro", "sev_snp", "sgx", "tdx", "vbs", "virtual"].map(trusted));
    // Intel publishes that firmware below 6 is out of date: both of its machines are.
    let mut recovery = vendors.intel.publication(world.now_ms() / 1000);
    (recovery.up_to_date_from, recovery.evaluation) = (6, 18);
    under_load(&mut world, |world| {
        vendors.intel.collateral(&recovery).into_iter().for_each(|item| world.submit_collateral(item));
    });
    wait_and_judge(&mut world, 1);
    assert_eq!((standing(&world)["tdx"], standing(&world)["sgx"]), ("at risk", "at risk"));
    assert_eq!(voters(&world), 6, "at risk is not out");
    // One operator updates in time. The other's fresh evidence says the same as before.
    vendors.td_firmware.store(6, Ordering::Relaxed);
    for kind in [TeeKind::Tdx, TeeKind::Sgx] {
        let id = replica_at(&world, kind);
        under_load(&mut world, |world| world.renew(id).unwrap());
    }
    assert_eq!((standing(&world)["tdx"], standing(&world)["sgx"]), ("trusted", "at risk"));
    wait_and_judge(&mut world, GRACE_S);
    under_load(&mut world, |world| {
        world.run_until(SOON_MS, "the old machine to be out", |world| voters(world) == 5).unwrap();
    });
    // AMD takes its intermediate authority back: nothing that the machine can show helps.
    let revoked = vendors.amd.revocations(&[11], world.now_ms() / 1000);
    under_load(&mut world, |world| world.submit_collateral(revoked));
    wait_and_judge(&mut world, 1);
    assert_eq!(standing(&world)["sev_snp"], "at risk");
    let snp = replica_at(&world, TeeKind::SevSnp);
    under_load(&mut world, |world| world.renew(snp).unwrap());
    wait_and_judge(&mut world, GRACE_S);
    under_load(&mut world, |world| {
        world.run_until(SOON_MS, "the revoked machine to be out", |world| voters(world) == 4).unwrap();
    });
    let left = [trusted("nitro"), ("sev_snp", "retired"), ("sgx", "retired")];
    expect(&world, [left[0], left[1], left[2], trusted("tdx"), trusted("vbs"), trusted("virtual")]);
    let state = &mut world.node(world.primary().unwrap()).machines.as_ref().unwrap().visible.state();
    assert!(attestation::next_deadline(state).unwrap().is_none());
}

#[test]
fn re_appraisal_never_takes_the_quorum_whatever_the_members_vote() {
    let vendors = Vendors::new();
    let mut world = network(&vendors);
    // Every kind of hardware loses the members' trust at once: five of six nodes.
    for section in ["sev_snp", "tdx", "sgx", "nitro", "vbs"] {
        under_load(&mut world, |world| world.vote_policy(section, serde_json::json!({})));
    }
    wait_and_judge(&mut world, 1);
    wait_and_judge(&mut world, GRACE_S);
    under_load(&mut world, |world| {
        world.run_until(SOON_MS, "two to be out", |world| voters(world) == 4).unwrap();
    });
    // A majority of those that voted before stays; the rest waits for a vote, and the network goes on.
    let counts = |word| standing(&world).values().filter(|found| **found == word).count();
    assert_eq!((counts("retired"), counts("overdue"), counts("trusted")), (2, 3, 1));
    wait_and_judge(&mut world, GRACE_S);
    assert_eq!(voters(&world), 4);
}

#[test]
fn a_node_that_lets_its_lease_run_out_is_in_quarantine_from_what_is_written_after_it() {
    const LEASE_S: u64 = 60;
    let vendors = Vendors::new();
    let mut world = network(&vendors);
    let lease = serde_json::json!({ "evidence_age_max_s": LEASE_S, "grace_s": GRACE_S });
    under_load(&mut world, |world| world.vote_policy("network", lease));
    wait_and_judge(&mut world, LEASE_S / 2);
    let renewing = [TeeKind::SevSnp, TeeKind::Tdx, TeeKind::Nitro, TeeKind::Vbs, TeeKind::Virtual];
    for kind in renewing {
        let id = replica_at(&world, kind);
        under_load(&mut world, |world| world.renew(id).unwrap());
    }
    wait_and_judge(&mut world, LEASE_S / 2 + 1);
    assert_eq!(standing(&world)["sgx"], "at risk");
    assert_eq!(voters(&world), 6, "it may still renew");
    for kind in renewing {
        assert_eq!(standing(&world)[kind.as_str()], "trusted", "{kind:?}");
        let id = replica_at(&world, kind);
        under_load(&mut world, |world| world.renew(id).unwrap());
    }
    wait_and_judge(&mut world, GRACE_S + 1);
    under_load(&mut world, |world| {
        world.run_until(SOON_MS, "the silent node to be out", |world| voters(world) == 5).unwrap();
    });
    under_load(&mut world, |world| world.run_for(1_000).unwrap());
    assert_eq!(standing(&world)["sgx"], "retired");
    // The next ledger secret is for those that renewed, and not for the other.
    let state = world.node(world.primary().unwrap()).machines.as_ref().unwrap().visible.state();
    let row = state.get(&tables::ENCRYPTED_LEDGER_SECRETS, &tables::SINGLETON).unwrap();
    let readers: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&row).unwrap();
    for node in NodeRow::all(&mut state.clone()).unwrap() {
        let renewed = node.info.quote_info.kind != TeeKind::Sgx;
        assert_eq!(readers.contains_key(&node.id.to_string()), renewed, "{:?}", node.info.quote_info.kind);
    }
}
