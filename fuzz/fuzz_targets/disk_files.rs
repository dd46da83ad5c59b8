//! The files of a node's folders, whole: the ledger's chunks and what lies beside them, and the consensus's log. Opened as a node does after a
//! stop, as one that comes back does, and as an auditor does who has nothing else.
//!
//! An input is files one behind the other: bytes as they are, edits of a genuine folder, a batch that the service signed at any place of any
//! ledger, and records of the log with their checksums.
#![no_main]

use std::hint::black_box;
use std::sync::Arc;

use coco_consensus::{Consensus, LOG_FILE, Resume, Resumption, durable_seqno};
use coco_disk::{Disk, MemoryDisk};
use coco_fuzz::edit;
use coco_fuzz::node::{act_on, config, identity, open_ledger, seal_behind};
use coco_fuzz::raft_log::{batch_checksum, log};
use coco_fuzz::service::{Service, writes};
use coco_ledger::{
    Batch, Earlier, Frontier, LedgerFiles, Primary, ServiceKeys, VerifyOptions, transactions, verify_folder,
};
use coco_node::identity::Identity;
use coco_types::{ReplicaId, Seqno, TxId, View};
use libfuzzer_sys::fuzz_target;

const OWN: ReplicaId = ReplicaId(7);
const NAMES: &[&str] = &[
    "ledger_1",
    "ledger_1-5.committed",
    "ledger_6-8.committed",
    "ledger_9",
    "ledger_9-9",
    "base.ignored",
    "retention.ignored",
    "merkle.ignored",
    LOG_FILE,
];
/// What else a file can be; see [`Folder::lay`].
const EDITS: u8 = 0x40;
const NAMED: u8 = 0x80;
const SIGNED: u8 = 0x81;
const RECORDS: u8 = 0x82;
/// The tree's file has its nodes where they are in the whole tree, and memory knows no holes.
const DISK_BYTES_MAX: u64 = 1 << 24;
const READ_MAX: u64 = 12;
const TICKS: usize = 24;

thread_local! {
    static GENUINE: Genuine = Genuine::new();
}

fuzz_target!(|input: &[u8]| GENUINE.with(|genuine| {
    let Some((&mode, mut rest)) = input.split_first() else { return };
    let folder = Folder { genuine, ledger: MemoryDisk::new(), log: MemoryDisk::new() };
    if mode & 1 == 0 {
        genuine.ledger.iter().for_each(|(name, bytes)| folder.put(name, bytes));
    }
    if mode & 2 == 0 {
        folder.put(LOG_FILE, &genuine.log);
    }
    while let Some((&[kind, high, low], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (content, behind) = behind.split_at(length.min(behind.len()));
        folder.lay(kind, content);
        rest = behind;
    }
    [&folder.ledger, &folder.log].into_iter().for_each(|disk| disk.set_bytes_max(Some(DISK_BYTES_MAX)));
    folder.audit();
    folder.fetch_earlier();
    folder.come_back();
    folder.open();
}));

struct Genuine {
    service: Service,
    identity: Identity,
    ledger: Vec<(String, Vec<u8>)>,
    log: Vec<u8>,
}

impl Genuine {
    fn new() -> Self {
        let mut service = Service::new(1);
        service.batch_of(2, true);
        service.new_view(OWN.0);
        service.batch_of(1, true);
        service.commit();
        service.batch_of(0, false);
        let mut records = vec![Record::new(0).number(0).number(0).number(0).members().0];
        let (mut index, mut first) = (0, Seqno(1));
        let reader = service.files.reader();
        while let Ok(Some(signature)) = reader.signature_from(first) {
            let bytes = reader.read(first, signature.txid.seqno).expect("the ledger is held");
            index += 1;
            first = signature.txid.seqno.next();
            let batch = Record::new(1).number(index).number(signature.txid.view.0).byte(2);
            records.push(batch.number(signature.txid.seqno.0).number(batch_checksum(&bytes)).0);
        }
        let state = Record::new(2).number(service.primary.view.0).number(OWN.0).number(index).number(index - 1);
        records.push(state.byte(1).members().0);
        let names = service.disk.names().expect("memory has names");
        let read = |name: String| (service.disk.read_all(&name).map(|bytes| (name, bytes))).expect("memory is read");
        let (ledger, log) = (names.into_iter().map(read).collect(), log(records.iter().map(Vec::as_slice)));
        let identity = identity(&service, OWN);
        let genuine = Self { service, identity, ledger, log };
        genuine.opens();
        genuine
    }

    fn opens(&self) {
        let folder = Folder { genuine: self, ledger: MemoryDisk::new(), log: MemoryDisk::new() };
        self.ledger.iter().for_each(|(name, bytes)| folder.put(name, bytes));
        folder.put(LOG_FILE, &self.log);
        assert_eq!(folder.open(), Some(Seqno(9)), "the genuine folder is opened");
    }
}

/// A record's body; nothing was known to be synced when it was written.
struct Record(Vec<u8>);

impl Record {
    fn new(kind: u8) -> Self {
        Self(vec![kind]).number(0)
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// One voter.
    fn members(mut self) -> Self {
        self.0.extend_from_slice(&[1, 0]);
        self = self.number(OWN.0);
        self.0.extend_from_slice(&[0; 6]);
        self
    }
}

/// A copy that is as small.
fn image(disk: &MemoryDisk) -> MemoryDisk {
    let image = disk.image();
    image.set_bytes_max(Some(DISK_BYTES_MAX));
    image
}

struct Folder<'a> {
    genuine: &'a Genuine,
    ledger: MemoryDisk,
    log: MemoryDisk,
}

impl Folder<'_> {
    fn lay(&self, kind: u8, content: &[u8]) {
        match kind {
            NAMED => {
                let Some((&length, rest)) = content.split_first() else { return };
                let (name, bytes) = rest.split_at(rest.len().min(length.into()));
                self.put(&String::from_utf8_lossy(name), bytes);
            }
            SIGNED => {
                // A place that no ledger can have is nothing.
                let _ = self.sign(content);
            }
            RECORDS => {
                let (mut bodies, mut rest) = (Vec::new(), content);
                while let Some((&length, behind)) = rest.split_first() {
                    let (body, behind) = behind.split_at(behind.len().min(length.into()));
                    bodies.push(body);
                    rest = behind;
                }
                self.put(LOG_FILE, &log(bodies));
            }
            _ if kind & EDITS != 0 => {
                let names = self.ledger.names().expect("memory has names");
                let log = LOG_FILE.to_owned();
                let name = names.get(usize::from(kind & !EDITS)).unwrap_or(&log);
                let Ok(mut bytes) = self.disk_of(name).read_all(name) else { return };
                edit(&mut bytes, content);
                self.put(name, &bytes);
            }
            _ => self.put(NAMES[usize::from(kind) % NAMES.len()], content),
        }
    }

    /// Where it is to lie, its first transaction, the view, how many transactions; then edits.
    fn sign(&self, content: &[u8]) -> Option<()> {
        let (&[place, seqno @ .., view, count], edits) = content.split_first_chunk::<11>()?;
        let leaves = u64::from_be_bytes(seqno);
        let peaks = vec![0; 32 * leaves.count_ones() as usize];
        let tree = Frontier::decode(&[&leaves.to_le_bytes()[..], &peaks].concat()).ok()?;
        let primary = Primary { view: View(view.into()), replica: OWN };
        let transactions: Vec<_> = (1..=u64::from(count % 4)).map(writes).collect();
        let mut bytes = seal_behind(&self.genuine.service, &tree, primary, place & 0x80 != 0, &transactions)?;
        edit(&mut bytes, edits);
        match place & 3 {
            0 => self.put("base.ignored", &[&bytes[..], &OWN.0.to_le_bytes()].concat()),
            1 => self.put("retention.ignored", &[&bytes[..], &OWN.0.to_le_bytes()].concat()),
            2 => self.put(&format!("ledger_{leaves}"), &[&[0; 8][..], &bytes].concat()),
            _ => {
                let end = 8 + bytes.len() as u64;
                let last = leaves + u64::from(count % 4);
                let mut positions = vec![8u32];
                while let Ok((entry, _)) =
                    coco_ledger::Entry::split_first(bytes.get(*positions.last()? as usize - 8..)?)
                {
                    positions.push(positions.last()? + u32::try_from(entry.raw().len()).ok()?);
                }
                positions.pop();
                let table: Vec<u8> = positions.into_iter().flat_map(u32::to_le_bytes).collect();
                self.put(
                    &format!("ledger_{leaves}-{last}.committed"),
                    &[&end.to_le_bytes()[..], &bytes, &table].concat(),
                );
            }
        }
        Some(())
    }

    fn disk_of(&self, name: &str) -> &MemoryDisk {
        if name == LOG_FILE { &self.log } else { &self.ledger }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let disk = self.disk_of(name);
        let _ = disk.remove(name);
        disk.write(name, 0, bytes).expect("memory takes any bytes");
    }

    fn ledger(&self) -> Arc<dyn Disk> {
        Arc::new(image(&self.ledger))
    }

    fn audit(&self) {
        let service = &self.genuine.service;
        let pinned = ServiceKeys::from(service.service_certificate.public_key());
        for (torn_tail_allowed, pinned) in [(false, None), (true, Some(pinned))] {
            let options = VerifyOptions { service: pinned, keys: service.keys.clone(), torn_tail_allowed };
            black_box(verify_folder(&self.ledger(), &options, &mut |_| ()).is_ok());
        }
        if let Ok(all) = transactions(self.ledger(), service.keys.clone()) {
            all.for_each(|one| drop(black_box(one)));
        }
        let _ = black_box(LedgerFiles::begins_behind(self.ledger().as_ref()));
        for last in [Seqno(2), Seqno(5), Seqno(8)] {
            let _ = LedgerFiles::retain_after(&MemoryDisk::new(), &self.ledger(), last).is_ok();
        }
    }

    /// The chunks before a snapshot, as they arrive.
    fn fetch_earlier(&self) {
        let service = ServiceKeys::from(self.genuine.service.service_certificate.public_key());
        let Ok(Some(mut earlier)) = Earlier::open(self.ledger(), service) else { return };
        while let Ok(Some(name)) = earlier.held() {
            let Ok(checked) = earlier.check(name, &name.to_string()) else { break };
            let keys = &self.genuine.service.keys;
            let _ = earlier.batches(&checked, &mut |batch: &Batch<'_>| batch.open(keys, OWN).map(drop)).is_ok();
            if earlier.accept(checked).is_err() {
                break;
            }
        }
    }

    fn durable(&self) -> Option<Seqno> {
        durable_seqno(&self.log).ok().map(Option::unwrap_or_default)
    }

    /// Without a majority.
    fn come_back(&self) {
        let Some(durable) = self.durable() else { return };
        let Genuine { service, identity, .. } = self.genuine;
        let Some(ledger) = open_ledger(&image(&self.ledger), durable, identity, service) else { return };
        let Ok(mut resume) = Resume::open(OWN, Arc::new(image(&self.log)), ledger.batch_store()) else { return };
        let state = resume.state();
        if let Some(resumption) = Resumption::of(std::slice::from_ref(&state), 0) {
            black_box(state.membership.may_resume(&resumption.voters, 1));
        }
        black_box((resume.committed(), resume.common_with(&state)));
        for index in state.commit..=state.last_index.min(state.commit.saturating_add(READ_MAX)) {
            let Ok(entries) = resume.read_entries(index, 1 << 16) else { continue };
            let _ = resume.replace_tail(index.saturating_sub(1), entries).is_ok();
        }
        if resume.adopt(View(state.view.0.saturating_add(1))).is_ok() {
            let batches = resume.close();
            black_box(batches.last());
        }
    }

    /// The last transaction that it then has.
    fn open(&self) -> Option<Seqno> {
        let durable = self.durable()?;
        let Genuine { service, identity, .. } = self.genuine;
        let ledger = open_ledger(&self.ledger, durable, identity, service)?;
        let last = ledger.last_txid();
        let again = open_ledger(&image(&self.ledger), durable, identity, service).map(|ledger| ledger.last_txid());
        assert_eq!(again, Some(last), "what was opened once is opened again");
        let mut seqno = ledger.first_seqno().unwrap_or(Seqno(1));
        for _ in 0..READ_MAX {
            if seqno > last.seqno {
                break;
            }
            if let Some(view) = ledger.view_of(seqno) {
                let txid = TxId::new(view, seqno);
                black_box((ledger.receipt(txid).is_ok(), ledger.past(txid).is_ok(), ledger.chunk_of(seqno)));
            }
            if let Ok(Some(span)) = ledger.batch_from(seqno) {
                black_box((ledger.open_batch(span).is_ok(), ledger.news(span.first, span.last).is_ok()));
            }
            seqno = seqno.next();
        }
        let mut drawn = 0;
        let random = Box::new(move || {
            drawn += 1;
            drawn
        });
        let opened = Consensus::open(config(OWN), Arc::new(self.log.clone()), ledger.batch_store(), random);
        let Ok(mut consensus) = opened else { return Some(last.seqno) };
        for _ in 0..TICKS {
            consensus.tick();
            let Ok(output) = consensus.take_output() else { break };
            act_on(&mut consensus, &output);
        }
        Some(ledger.last_seqno())
    }
}
