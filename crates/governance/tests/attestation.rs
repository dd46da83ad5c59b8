//! Nodes of several TEEs in one network: joining, TCB recovery, revocation, retirement, and the audit of it all.

use std::collections::BTreeSet;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::policy::{HardwareRule, TdImage};
use coco_attestation::{Binding, BoundFacts, EvidenceSource, Policy, SnpTcb, TeeKind};
use coco_crypto::{Crypto, Curve, SeededCrypto, SigningKey, Validity, self_signed_service_certificate, sha256};
use coco_governance::attestation::{
    self, Appraisal, AppraisalState, Audited, PublicState, Reappraised, VerifiedApplicant,
};
use coco_governance::tables;
use coco_governance::{
    AWAITS_VOTE, Addresses, Applicant, Error, Founding, FoundingActor, Network, NodeInfo, NodeRole, NodeRow,
    NodeStatus, ResumePolicy, Standing, Swap, current_nodes,
};
use coco_kv::{Store, Tx};
use coco_testpki::Minted;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::snp::{Amd, Product};
use coco_types::{Digest, MapName, NodeId, ReplicaId, Seqno, WriteSet};

const AT: u64 = 1_790_000_000;
const CODE: [u8; 48] = [0xc0; 48];
const VIRTUAL: Digest = Digest([7; 32]);
const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };

/// A ledger of one service, with everything that it ever wrote.
struct Ledger {
    store: Store,
    history: Vec<WriteSet>,
    crypto: SeededCrypto,
    service: SigningKey,
    amd: Amd,
    intel: Intel,
}

impl Ledger {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let crypto = SeededCrypto::new(1);
        let service = SigningKey::generate(&crypto, Curve::P384);
        let (amd, intel) = (Amd::new(Product::Milan, AT), Intel::new(AT));
        let mut ledger = Self { store: Store::new(), history: Vec::new(), crypto, service, amd, intel };
        let founding = ledger.founding(change);
        ledger.commit(|tx| coco_governance::found(tx, &founding, AT)).unwrap();
        ledger
    }

    fn founding(&self, change: impl FnOnce(&mut Policy)) -> Founding {
        let mut genesis = coco_attestation::Rules::default();
        self.amd.trust(&mut genesis.anchors);
        self.intel.trust(&mut genesis.anchors);
        genesis.collateral = self.intel.collateral(&self.intel.publication(AT - 100));
        genesis.collateral.push(self.amd.revocations(&[], AT - 100));
        let policy = &mut genesis.policy;
        policy.virtual_tee.measurements.insert(VIRTUAL);
        policy.sev_snp.measurements.insert(hex::encode(CODE));
        policy.sev_snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb::default());
        policy.tdx.images.push(TdImage { mrtd: hex::encode(CODE), ..TdImage::default() });
        policy.sgx.enclaves.insert("c0".repeat(32));
        for tcb in [&mut policy.tdx.tcb, &mut policy.sgx.tcb] {
            tcb.statuses.insert("UpToDate".to_owned(), None);
        }
        policy.network.grace_s = 1000;
        change(policy);
        let certificate = |key: &SigningKey| {
            self_signed_service_certificate(&self.crypto, key, "test", VALIDITY, &[]).unwrap().to_pem()
        };
        let node_key = SigningKey::generate(&self.crypto, Curve::P256);
        let bound = BoundFacts { exchange_key: Vec::new(), service: None, config: Digest::ZERO, nonce: None };
        let report_data = bound.binding(node_key.public_key(), TeeKind::Virtual).report_data();
        let info = NodeInfo {
            status: NodeStatus::Trusted,
            public_key: node_key.public_key().to_pem(),
            replica: ReplicaId(1),
            index: 0,
            addresses: addresses(),
            encryption_pub_key: String::new(),
            certificate_signing_request: None,
            quote_info: VirtualTee::running(VIRTUAL).evidence(&report_data).unwrap(),
            replaces: None,
            swaps: None,
            retired_committed: false,
            role: NodeRole::Voter,
            admitted_ms: 0,
            owner: None,
            node_data: Default::default(),
        };
        let member = SigningKey::generate(&self.crypto, Curve::P384);
        Founding {
            network: Network {
                name: "test".to_owned(),
                chunk_bytes: 1 << 20,
                ledgers: Vec::new(),
                resume: ResumePolicy::default(),
                swap_interval_ms: 0,
            },
            members: vec![FoundingActor {
                certificate: certificate(&member),
                data: serde_json::Value::Null,
                encryption_public_key: None,
                recovery_role: None,
            }],
            participants: Vec::new(),
            recovery_threshold: None,
            virtual_measurements: Vec::new(),
            attestation: genesis,
            constitution: String::new(),
            node: NodeRow { id: node_key.public_key().node_id(), info },
            bound: Some(bound),
            node_certificate: certificate(&node_key),
            service_certificate: certificate(&self.service),
        }
    }

    fn commit<T>(&mut self, change: impl FnOnce(&mut Tx) -> Result<T, Error>) -> Result<T, Error> {
        let mut tx = self.store.begin();
        let result = change(&mut tx)?;
        let seqno = Seqno(self.history.len() as u64 + 1);
        self.store.apply(seqno, tx.writes()).unwrap();
        self.store.commit(seqno);
        self.history.push(tx.writes().clone());
        Ok(result)
    }

    fn put(&mut self, map: &MapName, key: &[u8], row: &[u8]) {
        let put = |tx: &mut Tx| {
            tx.put(map, key.to_vec(), row.to_vec());
            Ok(())
        };
        self.commit(put).unwrap();
    }

    fn source(&self, kind: TeeKind, machine: u8) -> Box<dyn EvidenceSource + '_> {
        let (amd, intel) = (&self.amd, &self.intel);
        let td = Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 };
        let enclave = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };
        match kind {
            TeeKind::SevSnp => {
                let report = amd.report(CODE, machine);
                Box::new(Minted { kind, mint: move |data: &_| amd.mint(&report, data) })
            }
            TeeKind::Tdx | TeeKind::Sgx => {
                let guest = if kind == TeeKind::Tdx { td } else { enclave };
                Box::new(Minted { kind, mint: move |data: &_| intel.mint(&intel.platform(machine), &guest, data) })
            }
            _ => Box::new(VirtualTee::running(VIRTUAL)),
        }
    }

    fn applicant(&self, source: &dyn EvidenceSource, key: &SigningKey, index: u32) -> Applicant {
        let mut nonce = [0; 32];
        self.crypto.fill(&mut nonce);
        let exchange_key = vec![index as u8; 32];
        let binding = Binding {
            node_key: key.public_key(),
            exchange_key: &exchange_key,
            service: Some(sha256(&self.service.public_key().spki_der())),
            config: Digest::ZERO,
            tee: source.kind(),
            nonce: Some(nonce),
        };
        Applicant {
            public_key: key.public_key().clone(),
            evidence: source.evidence(&binding.report_data()).unwrap(),
            exchange_key,
            index,
            addresses: addresses(),
            config: Digest::ZERO,
            nonce,
            swaps: None,
            role: NodeRole::Voter,
            certificate_signing_request: None,
        }
    }

    fn verify(&self, applicant: &Applicant, at: u64) -> Result<VerifiedApplicant, Error> {
        attestation::verify_applicant(&mut self.store.snapshot(), applicant, self.service.public_key(), at)
    }

    fn join(&mut self, kind: TeeKind, machine: u8, index: u32) -> Result<(SigningKey, NodeId), Error> {
        let key = SigningKey::generate(&self.crypto, Curve::P256);
        let applicant = self.applicant(self.source(kind, machine).as_ref(), &key, index);
        let verified = self.verify(&applicant, AT + u64::from(index))?;
        let _: Standing = self.commit(|tx| coco_governance::admit(tx, &applicant, &verified, "pem", 0))?;
        Ok((key, applicant.public_key.node_id()))
    }

    /// One of each: virtual (the founder), SEV-SNP, TDX, SGX.
    fn mixed(&mut self) -> [NodeId; 3] {
        let kinds = [TeeKind::SevSnp, TeeKind::Tdx, TeeKind::Sgx];
        let mut index = 0;
        kinds.map(|kind| {
            index += 1;
            self.join(kind, index, u32::from(index)).unwrap_or_else(|error| panic!("{kind}: {error}")).1
        })
    }

    fn reappraise(&mut self, at: u64) -> Reappraised {
        let all = current_nodes(&mut self.store.snapshot()).unwrap();
        self.reappraise_while(at, all.iter().map(|node| node.info.replica).collect())
    }

    fn reappraise_while(&mut self, at: u64, answering: BTreeSet<ReplicaId>) -> Reappraised {
        let verified = attestation::verify_all(&mut self.store.snapshot(), at, answering).unwrap();
        self.commit(|tx| attestation::apply(tx, &verified)).unwrap()
    }

    fn submit(&mut self, item: &coco_attestation::collateral::CollateralItem, at: u64) {
        self.commit(|tx| attestation::submit_collateral(tx, item, at)).unwrap();
    }

    fn state(&self, node: NodeId) -> AppraisalState {
        Appraisal::read(&mut self.store.snapshot(), node).unwrap().unwrap().state
    }

    fn trusted(&self) -> usize {
        current_nodes(&mut self.store.snapshot()).unwrap().len()
    }

    fn audit(&self) -> Vec<Audited> {
        let mut state = PublicState::default();
        self.history.iter().flat_map(|writes| state.apply(writes).unwrap()).collect()
    }
}

fn addresses() -> Addresses {
    let address = ([127, 0, 0, 1], 1).into();
    Addresses { api: address, peers: address }
}

#[test]
fn collateral_that_says_the_same_writes_nothing_and_what_was_judged_by_older_rows_is_judged_again() {
    let mut ledger = Ledger::new(|_| ());
    let old = ledger.intel.collateral(&ledger.intel.publication(AT - 100));
    let newer = ledger.intel.collateral(&ledger.intel.publication(AT - 50));
    ledger.submit(&old[4], AT);
    assert!(ledger.history.last().unwrap().is_empty());
    let judge =
        |ledger: &Ledger| attestation::judge_collateral(&mut ledger.store.snapshot(), newer[4].clone(), AT).unwrap();
    let (first, second) = (judge(&ledger), judge(&ledger));
    assert!(ledger.commit(|tx| first.keep(tx)).unwrap());
    assert!(!ledger.history.last().unwrap().is_empty());
    assert!(!ledger.commit(|tx| second.keep(tx)).unwrap());
    assert!(ledger.history.last().unwrap().is_empty());
    assert!(!judge(&ledger).is_news());
}

#[test]
fn nodes_of_several_tees_join_one_network_and_every_admission_can_be_judged_again() {
    let mut ledger = Ledger::new(|_| {});
    let nodes = ledger.mixed();
    ledger.join(TeeKind::Virtual, 0, 4).unwrap();
    assert_eq!(ledger.trusted(), 5);
    for node in nodes {
        let appraisal = Appraisal::read(&mut ledger.store.snapshot(), node).unwrap().unwrap();
        assert_eq!(appraisal.state, AppraisalState::Trusted);
        assert!(appraisal.explanation.iter().all(|line| line.starts_with("good: ")), "{:?}", appraisal.explanation);
    }
    let audited = ledger.audit();
    assert_eq!(audited.len(), 5);
    assert!(audited.iter().all(|audited| audited.findings.is_empty()), "{audited:#?}");
}

#[test]
fn an_altered_ledger_does_not_pass_the_audit() {
    let mut ledger = Ledger::new(|_| {});
    ledger.mixed();
    // The policy that admitted them is taken back in history.
    for writes in &mut ledger.history {
        let kept = writes.clone().into_iter().filter(|(map, _)| *map != attestation::COLLATERAL);
        *writes = kept.collect();
    }
    let audited = ledger.audit();
    assert!(audited.iter().skip(1).all(|audited| !audited.findings.is_empty()), "{audited:#?}");
}

#[test]
fn applicants_whose_platform_code_or_machine_is_not_in_the_policy_are_refused_in_words() {
    let mut ledger = Ledger::new(|policy| {
        policy.sgx.enclaves.clear();
        policy.network.hardware = HardwareRule::Unique;
        policy.network.allow_unidentified_hardware = true;
    });
    let refused = |result: Result<_, Error>| match result {
        Err(Error::NotAdmitted(why)) => why,
        other => panic!("{:?}", other.map(|(_, node): (SigningKey, NodeId)| node)),
    };
    let why = refused(ledger.join(TeeKind::Sgx, 1, 1));
    assert!(why.starts_with("the network accepts no sgx nodes; the code with measurement c0c0"), "{why}");
    ledger.join(TeeKind::SevSnp, 1, 1).unwrap();
    let why = refused(ledger.join(TeeKind::SevSnp, 1, 2));
    assert!(why.contains("runs node"), "{why}");
    // A node may take its own place on its own machine.
    ledger.join(TeeKind::SevSnp, 1, 1).unwrap();
}

#[test]
fn evidence_that_was_verified_before_a_vote_does_not_admit_after_it() {
    let mut ledger = Ledger::new(|_| {});
    let key = SigningKey::generate(&ledger.crypto, Curve::P256);
    let applicant = ledger.applicant(ledger.source(TeeKind::Tdx, 1).as_ref(), &key, 1);
    let verified = ledger.verify(&applicant, AT).unwrap();
    let newer = ledger.intel.collateral(&ledger.intel.publication(AT))[4].clone();
    ledger.submit(&newer, AT);
    let late = ledger.commit(|tx| coco_governance::admit(tx, &applicant, &verified, "pem", 0));
    assert!(matches!(late, Err(Error::NotAdmitted(why)) if why.contains("changed meanwhile")));
    let other_service = SigningKey::generate(&ledger.crypto, Curve::P384);
    let state = &mut ledger.store.snapshot();
    assert!(attestation::verify_applicant(state, &applicant, other_service.public_key(), AT).is_err());
}

/// The members vote on every newcomer.
fn voting_network() -> Ledger {
    let mut ledger = Ledger::new(|_| {});
    ledger.commit(coco_governance::open).unwrap();
    ledger.put(&tables::NODE_ADMISSION, &tables::SINGLETON, br#"{"by":"vote"}"#);
    ledger
}

#[test]
fn a_place_is_taken_over_without_a_vote_only_by_who_has_the_key_of_its_node() {
    let mut ledger = Ledger::new(|_| {});
    let (old_key, old) = ledger.join(TeeKind::SevSnp, 1, 1).unwrap();
    let mut row = NodeRow::read(&mut ledger.store.snapshot(), old).unwrap().unwrap();
    (row.info.owner, row.info.node_data) = (Some("bank".to_owned()), serde_json::json!({"rack": 7}));
    ledger.put(&tables::NODE_INFO, old.to_string().as_bytes(), &serde_json::to_vec(&row.info).unwrap());
    ledger.commit(coco_governance::open).unwrap();
    ledger.put(&tables::NODE_ADMISSION, &tables::SINGLETON, br#"{"by":"vote"}"#);

    let new_key = SigningKey::generate(&ledger.crypto, Curve::P256);
    let mut applicant = ledger.applicant(ledger.source(TeeKind::SevSnp, 1).as_ref(), &new_key, 1);
    let refusal = |ledger: &mut Ledger, applicant: &Applicant| {
        let verified = ledger.verify(applicant, AT).unwrap();
        ledger.commit(|tx| coco_governance::admit(tx, applicant, &verified, "pem", 0)).unwrap_err().to_string()
    };
    let refused = refusal(&mut ledger, &applicant);
    assert!(refused.contains("is in the network"), "{refused}");
    let statement = Swap::statement(new_key.public_key(), &applicant.nonce);
    let by = |key: &SigningKey| Some(Swap { node: old, signature: key.sign(&SeededCrypto::new(2), &statement).der() });
    applicant.swaps = by(&new_key);
    assert!(refusal(&mut ledger, &applicant).contains("has not signed"));
    applicant.swaps = by(&old_key);
    let verified = ledger.verify(&applicant, AT).unwrap();
    let standing = ledger.commit(|tx| coco_governance::admit(tx, &applicant, &verified, "pem", 0)).unwrap();
    assert_eq!((standing.replaces, standing.pending), (Some(old), false));
    // The place keeps whom it belongs to.
    let fresh = NodeRow::read(&mut ledger.store.snapshot(), new_key.public_key().node_id()).unwrap().unwrap();
    assert_eq!((fresh.info.owner, fresh.info.node_data), (row.info.owner, row.info.node_data));
}

#[test]
fn who_waits_for_a_vote_gives_way_to_another_but_not_while_members_vote_on_it() {
    let mut ledger = voting_network();
    let (_, first) = ledger.join(TeeKind::SevSnp, 1, 1).unwrap();
    let (_, second) = ledger.join(TeeKind::SevSnp, 2, 1).unwrap();
    assert!(NodeRow::read(&mut ledger.store.snapshot(), first).unwrap().is_none());
    let proposal =
        format!(r#"{{"actions":[{{"name":"transition_node_to_trusted","args":{{"node_id":"{second}"}}}}]}}"#);
    ledger.put(&tables::PROPOSALS, b"p", proposal.as_bytes());
    ledger.put(&tables::PROPOSALS_INFO, b"p", br#"{"proposer_id":"m","state":"Open"}"#);
    let refused = ledger.join(TeeKind::SevSnp, 3, 1).err().unwrap().to_string();
    assert!(refused.contains("the members vote on it"), "{refused}");
    ledger.put(&tables::PROPOSALS_INFO, b"p", br#"{"proposer_id":"m","state":"Withdrawn"}"#);
    ledger.join(TeeKind::SevSnp, 3, 1).unwrap();
}

#[test]
fn a_tcb_recovery_puts_old_platforms_at_risk_and_then_out_unless_they_renew() {
    let mut ledger = Ledger::new(|_| {});
    let [snp, tdx, sgx] = ledger.mixed();
    assert!(ledger.reappraise(AT + 10).is_empty());
    let mut recovery = ledger.intel.publication(AT + 20);
    (recovery.up_to_date_from, recovery.evaluation) = (6, 18);
    for item in ledger.intel.collateral(&recovery) {
        ledger.submit(&item, AT + 30);
    }
    let changes = ledger.reappraise(AT + 40);
    assert_eq!(changes.at_risk, [tdx, sgx]);
    assert!(matches!(ledger.state(tdx), AppraisalState::AtRisk { deadline, .. } if deadline == AT + 1040));
    assert_eq!(attestation::next_deadline(&mut ledger.store.snapshot()).unwrap(), Some(AT + 1040));
    assert!(ledger.reappraise(AT + 500).is_empty());
    // Four nodes: a majority of three stays, so one may go by itself and the other waits for a vote.
    let changes = ledger.reappraise(AT + 1040);
    assert_eq!((changes.retired, changes.overdue), (vec![tdx], vec![sgx]));
    assert_eq!(ledger.trusted(), 3);
    assert!(ledger.reappraise(AT + 5000).is_empty());
    assert_eq!(ledger.state(snp), AppraisalState::Trusted);
    assert!(ledger.audit().iter().all(|audited| audited.findings.is_empty()));
}

#[test]
fn nobody_is_retired_while_too_few_of_the_others_answer() {
    let mut ledger = Ledger::new(|policy| policy.network.grace_s = 5);
    let [snp, ..] = ledger.mixed();
    ledger.join(TeeKind::Tdx, 4, 4).unwrap();
    let revoked = ledger.amd.revocations(&[11], AT + 10);
    ledger.submit(&revoked, AT + 20);
    assert_eq!(ledger.reappraise(AT + 30).at_risk, [snp]);
    // Five voters, of which the founder and the fourth are silent: without the one at risk, two of four would answer.
    let answering = BTreeSet::from([2, 3, 4].map(ReplicaId));
    assert!(ledger.reappraise_while(AT + 40, answering).is_empty());
    assert_eq!(ledger.trusted(), 5);
    assert!(attestation::renewal_due(&mut ledger.store.snapshot(), snp, AT + 50).unwrap());
    // One of them is back.
    let answering = BTreeSet::from([1, 2, 3, 4].map(ReplicaId));
    assert_eq!(ledger.reappraise_while(AT + 60, answering).retired, [snp]);
}

#[test]
fn a_voted_minimum_of_nodes_is_kept_and_evidence_is_renewed_before_it_is_too_old() {
    let mut ledger = Ledger::new(|policy| {
        policy.network.grace_s = 5;
        policy.network.minimum_nodes = 4;
        policy.network.evidence_age_max_s = Some(900);
    });
    let [snp, ..] = ledger.mixed();
    let due = |ledger: &Ledger, at| attestation::renewal_due(&mut ledger.store.snapshot(), snp, at).unwrap();
    assert!(!due(&ledger, AT + 300) && due(&ledger, AT + 700));
    let revoked = ledger.amd.revocations(&[11], AT + 10);
    ledger.submit(&revoked, AT + 20);
    ledger.reappraise(AT + 30);
    assert_eq!(ledger.reappraise(AT + 40).overdue, [snp]);
}

#[test]
fn fresh_evidence_restores_a_node_and_a_policy_that_is_changed_back_does_too() {
    let mut ledger = Ledger::new(|_| {});
    let (key, node) = ledger.join(TeeKind::SevSnp, 1, 1).unwrap();
    ledger.join(TeeKind::Tdx, 2, 2).unwrap();
    let strict = br#"{"measurements":[],"minimum_tcb":{"Milan":{}}}"#.to_vec();
    let before = ledger.store.snapshot().get(&attestation::POLICY, b"sev_snp").unwrap();
    let vote = |ledger: &mut Ledger, section: Vec<u8>| {
        let put = |tx: &mut Tx| {
            tx.put(&attestation::POLICY, b"sev_snp".to_vec(), section);
            Ok(())
        };
        ledger.commit(put).unwrap();
    };
    vote(&mut ledger, strict.clone());
    assert_eq!(ledger.reappraise(AT + 10).at_risk, [node]);
    vote(&mut ledger, before.to_vec());
    assert_eq!(ledger.reappraise(AT + 20).restored, [node]);
    vote(&mut ledger, strict);
    assert_eq!(ledger.reappraise(AT + 30).at_risk, [node]);
    vote(&mut ledger, before.to_vec());
    let applicant = ledger.applicant(ledger.source(TeeKind::SevSnp, 1).as_ref(), &key, 1);
    let verified = ledger.verify(&applicant, AT + 40).unwrap();
    ledger.commit(|tx| attestation::renew(tx, &applicant, &verified)).unwrap();
    assert_eq!(ledger.state(node), AppraisalState::Trusted);
    assert!(ledger.audit().iter().all(|audited| audited.findings.is_empty()));
    let applicant = ledger.applicant(ledger.source(TeeKind::SevSnp, 1).as_ref(), &key, 9);
    let verified = ledger.verify(&applicant, AT + 45).unwrap();
    let other_key = ledger.commit(|tx| attestation::renew(tx, &applicant, &verified));
    assert!(matches!(other_key, Err(Error::NotAdmitted(why)) if why.contains("another exchange key")));
    let stranger = SigningKey::generate(&ledger.crypto, Curve::P256);
    let applicant = ledger.applicant(ledger.source(TeeKind::SevSnp, 1).as_ref(), &stranger, 1);
    let verified = ledger.verify(&applicant, AT + 50).unwrap();
    assert!(ledger.commit(|tx| attestation::renew(tx, &applicant, &verified)).is_err());
}

#[test]
fn revocation_reaches_nodes_that_are_in_the_network_and_age_does_too() {
    let mut ledger = Ledger::new(|policy| policy.network.evidence_age_max_s = Some(10_000));
    let (_, node) = ledger.join(TeeKind::SevSnp, 1, 1).unwrap();
    let list = ledger.amd.revocations(&[11], AT + 5);
    ledger.submit(&list, AT + 6);
    assert_eq!(ledger.reappraise(AT + 7).at_risk, [node]);
    let AppraisalState::AtRisk { reasons, .. } = ledger.state(node) else { panic!() };
    assert!(reasons[0].contains("revoked"), "{reasons:?}");
    let old = ledger.reappraise(AT + 10_001);
    assert_eq!(old.at_risk.len(), 1, "the founder's evidence is too old by now: {old:?}");
}

#[test]
fn a_genesis_that_would_refuse_its_founder_founds_nothing() {
    let crypto = SeededCrypto::new(1);
    let service = SigningKey::generate(&crypto, Curve::P384);
    let (amd, intel) = (Amd::new(Product::Milan, AT), Intel::new(AT));
    let mut ledger = Ledger { store: Store::new(), history: Vec::new(), crypto, service, amd, intel };
    let founding = ledger.founding(|policy| policy.virtual_tee.measurements.clear());
    let refused = ledger.commit(|tx| coco_governance::found(tx, &founding, AT));
    assert!(matches!(refused, Err(Error::Founding(why)) if why.contains("accepts no virtual nodes")));
}

#[test]
fn the_action_that_sets_a_section_knows_exactly_the_fields_that_are_read() {
    let script = include_str!("../../../constitution/actions/set_attestation_policy.js");
    let serde_json::Value::Object(sections) = serde_json::to_value(Policy::default()).unwrap() else { panic!() };
    for (section, fields) in sections {
        let start = script.find(&format!("  {section}: [")).unwrap_or_else(|| panic!("{section} is missing"));
        let listed = &script[start..start + script[start..].find(']').unwrap()];
        let mut listed: Vec<&str> = listed.split('"').skip(1).step_by(2).collect();
        listed.sort_unstable();
        let mut known: Vec<&str> = fields.as_object().unwrap().keys().map(String::as_str).collect();
        known.sort_unstable();
        assert_eq!(listed, known, "{section}");
    }
}

#[test]
fn a_newcomer_waits_for_a_vote_if_the_members_say_so() {
    let mut ledger = Ledger::new(|_| {});
    let put = |ledger: &mut Ledger, map: &MapName, key: &[u8], row: serde_json::Value| {
        let write = |tx: &mut Tx| {
            tx.put(map, key.to_vec(), row.to_string().into_bytes());
            Ok(())
        };
        ledger.commit(write).unwrap();
    };
    ledger.commit(coco_governance::open).unwrap();
    ledger.join(TeeKind::Virtual, 0, 1).unwrap();
    put(&mut ledger, &tables::NODE_ADMISSION, &tables::SINGLETON, serde_json::json!({"by": "vote"}));
    let key = SigningKey::generate(&ledger.crypto, Curve::P256);
    let ask = |ledger: &mut Ledger, index: u32| {
        let applicant = ledger.applicant(&VirtualTee::running(VIRTUAL), &key, index);
        let verified = ledger.verify(&applicant, AT + 10)?;
        ledger.commit(|tx| coco_governance::admit(tx, &applicant, &verified, "pem", 0))
    };
    assert!(ask(&mut ledger, 7).unwrap().pending);
    let waiting = ask(&mut ledger, 7).unwrap_err().to_string();
    assert!(waiting.contains(AWAITS_VOTE), "{waiting}");
    assert_eq!(ledger.trusted(), 2);
    // The same machine, started again, waits in its own place; the key before gives way.
    let again = ledger.join(TeeKind::Virtual, 0, 7).unwrap();
    let id = key.public_key().node_id();
    assert!(NodeRow::read(&mut ledger.store.snapshot(), id).unwrap().is_none());
    assert!(ask(&mut ledger, 8).unwrap().pending);
    for voted in [id, again.1] {
        let mut row = NodeRow::read(&mut ledger.store.snapshot(), voted).unwrap().unwrap();
        row.info.status = NodeStatus::Trusted;
        put(&mut ledger, &tables::NODE_INFO, voted.to_string().as_bytes(), serde_json::json!(row.info));
    }
    assert!(ask(&mut ledger, 9).is_err(), "it was voted in at another place");
    assert!(!ask(&mut ledger, 8).unwrap().pending);
    assert!(ask(&mut ledger, 8).unwrap_err().to_string().contains("has joined before"));
    assert!(ledger.audit().iter().all(|audited| audited.findings.is_empty()));
}
