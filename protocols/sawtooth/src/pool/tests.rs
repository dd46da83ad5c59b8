use coco_protocol::Caller;

use super::lanes::Lanes;
use super::*;
use crate::limits::CLAIMED_PREFIXES_MAX;
use crate::protocol::admitted;
use crate::testing::{Draft, Signer, first_transaction_id, intkey};

struct Outside(&'static str);

impl Externals for Outside {
    fn has(&self, family: &str, _version: &str) -> bool {
        family == self.0
    }
}

fn pool(limits: PoolLimits) -> SawtoothPool {
    let mut pool = SawtoothPool::new(Arc::default(), Arc::new(Outside("xo")), limits);
    pool.base = Base::Own;
    pool
}

fn admit(raw: &Bytes) -> Admitted {
    admitted(SignedBatch::admit(raw.clone()).unwrap(), Caller::Anonymous)
}

fn insert(pool: &mut SawtoothPool, raw: &Bytes) -> Result<(), Rejection> {
    pool.insert(admit(raw), &coco_kv::Store::new().snapshot(), 1_000)
}

fn draft(family: &'static str, nonce: &str, inputs: &[&str], outputs: &[&str]) -> Draft {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Draft { family, nonce: nonce.to_owned(), inputs: texts(inputs), outputs: texts(outputs), ..Draft::default() }
}

#[test]
fn a_full_pool_says_so_and_takes_in_again() {
    let mut pool = pool(PoolLimits { batches_max: 1, ..PoolLimits::default() });
    let (first, second) =
        (Signer::new(1).single(&intkey("set", "a", 1)), Signer::new(1).single(&intkey("set", "b", 1)));
    insert(&mut pool, &first).unwrap();
    let refused = insert(&mut pool, &second).unwrap_err();
    assert_eq!((refused.reason, refused.code), (RejectionReason::Busy, 4));
    let next = pool.next(1_000).unwrap();
    pool.done(&next, Ok(&Outcome::default()), &coco_kv::Store::new().snapshot());
    insert(&mut pool, &second).unwrap();
    assert_eq!(insert(&mut pool, &second).unwrap_err().reason, RejectionReason::Duplicate);
}

#[test]
fn a_submission_is_taken_in_whole_or_not_at_all() {
    let pool = |limits| {
        let mut pool = pool(limits);
        insert(&mut pool, &Signer::new(1).single(&intkey("set", "z", 1))).unwrap();
        pool
    };
    let together: Vec<_> = ["z", "a", "b"].map(|name| admit(&Signer::new(1).single(&intkey("set", name, 1)))).into();
    let state = coco_kv::Store::new().snapshot();
    let check = |pool: &SawtoothPool| pool.check_together(&together, &state);
    assert_eq!(check(&pool(PoolLimits { batches_max: 3, ..PoolLimits::default() })), Ok(()), "one is there already");
    let refused = check(&pool(PoolLimits { batches_max: 2, ..PoolLimits::default() })).unwrap_err();
    assert_eq!((refused.reason, refused.code), (RejectionReason::Busy, 4));
    let bytes_max = together[0].decoded::<Arc<SignedBatch>>().unwrap().weight * 2;
    assert!(check(&pool(PoolLimits { bytes_max, ..PoolLimits::default() })).is_err());
    let first = Signer::new(1).single(&intkey("set", "a", 1));
    let second = Draft { dependencies: vec![first_transaction_id(&first)], ..intkey("inc", "a", 1) };
    let both = [admit(&first), admit(&Signer::new(1).single(&second))];
    let none_held = pool(PoolLimits { held_max: 0, ..PoolLimits::default() });
    assert_eq!(none_held.check_together(&both, &state), Ok(()), "it brings what it depends on");
    assert!(none_held.check_together(&both[1..], &state).is_err());
}

#[test]
fn a_batch_waits_for_what_it_depends_on_but_not_for_ever() {
    let mut pool = pool(PoolLimits { dependency_wait_ms: 500, ..PoolLimits::default() });
    let first = Signer::new(1).single(&intkey("set", "a", 1));
    let second = Draft { dependencies: vec![first_transaction_id(&first)], ..intkey("inc", "a", 1) };
    insert(&mut pool, &Signer::new(1).single(&second)).unwrap();
    assert_eq!(pool.ready(1_000), Ready::At(1_500));
    assert!(pool.next(1_499).is_none());
    assert_eq!(pool.ready(1_500), Ready::Now);
    assert!(pool.next(1_500).is_some(), "it is executed, and found invalid");
}

#[test]
fn a_batch_goes_on_when_its_dependency_has_ended() {
    let mut pool = pool(PoolLimits::default());
    let first = Signer::new(1).single(&intkey("set", "a", 1));
    let second = Draft { dependencies: vec![first_transaction_id(&first)], ..intkey("inc", "a", 1) };
    insert(&mut pool, &Signer::new(1).single(&second)).unwrap();
    insert(&mut pool, &first).unwrap();
    let next = pool.next(1_000).unwrap();
    assert_eq!(next.id, admit(&first).id);
    assert!(pool.next(1_000).is_none());
    pool.done(&next, Ok(&Outcome::default()), &coco_kv::Store::new().snapshot());
    assert!(pool.next(1_000).is_some());
}

#[test]
fn external_batches_run_once_they_are_prepared() {
    let mut pool = pool(PoolLimits::default());
    let external = Signer::new(1).single(&draft("xo", "1", &["aa"], &["aa"]));
    let native = Signer::new(1).single(&intkey("set", "a", 1));
    insert(&mut pool, &external).unwrap();
    insert(&mut pool, &native).unwrap();
    assert_eq!(pool.next(1_000).unwrap().id, admit(&native).id);
    assert!(pool.next(1_000).is_none());
    let preparing = pool.next_to_prepare(1_000).unwrap();
    assert!(pool.next_to_prepare(1_000).is_none());
    pool.prepared(&preparing.id);
    assert_eq!(pool.next(1_000).unwrap().id, admit(&external).id);
    pool.conflicted(&preparing.id);
    assert_eq!(pool.next_to_prepare(1_000).unwrap().id, admit(&external).id);
}

#[test]
fn batches_are_prepared_together_unless_their_addresses_conflict() {
    let mut lanes = Lanes::default();
    let batch = |draft: &Draft| Arc::new(SignedBatch::admit(Signer::new(1).single(draft)).unwrap());
    let mut push = |order: u64, inputs: &[&str], outputs: &[&str]| {
        let lane = ("f".to_owned(), "1".to_owned());
        lanes.push(lane, order, batch(&draft("f", &order.to_string(), inputs, outputs)));
    };
    push(0, &["aa01", "aa0102"], &["aa01"]);
    push(1, &["aa02"], &["aa02"]);
    push(2, &["aa"], &[]);
    push(3, &["bb"], &[]);
    push(4, &["bb01"], &[]);
    push(5, &[], &["bb0102"]);
    let mut free = || std::iter::from_fn(|| lanes.next()).collect::<Vec<_>>();
    assert_eq!(free(), [0, 1, 3, 4], "two reads do not conflict");
    lanes.release(0);
    assert_eq!(lanes.next(), None);
    lanes.release(1);
    assert_eq!(lanes.next(), Some(2));
    assert!(lanes.has_blocked());
    lanes.release(4);
    lanes.release(3);
    assert_eq!(lanes.next(), Some(5));
    assert!(!lanes.has_blocked());
}

#[test]
fn a_batch_that_declares_very_much_waits_for_all_others_and_they_for_it() {
    let mut lanes = Lanes::default();
    let batch = |draft: &Draft| Arc::new(SignedBatch::admit(Signer::new(1).single(draft)).unwrap());
    let many: Vec<String> = (0..=CLAIMED_PREFIXES_MAX).map(|number| format!("{number:08x}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let all_of_it = [&many[..], &["00"]].concat();
    let declared: [(&[&str], &[&str]); 5] =
        [(&["ee"], &["ee"]), (&many, &[]), (&["ff"], &[]), (&all_of_it, &[]), (&[], &[])];
    for (order, (inputs, outputs)) in declared.iter().enumerate() {
        let lane = (format!("family {order}"), "1".to_owned());
        lanes.push(lane, order as u64, batch(&draft("f", &order.to_string(), inputs, outputs)));
    }
    let mut free = || std::iter::from_fn(|| lanes.next()).collect::<Vec<_>>();
    assert_eq!(free(), [0, 4], "what declares nothing is in nobody's way");
    lanes.release(0);
    let mut free = || std::iter::from_fn(|| lanes.next()).collect::<Vec<_>>();
    assert_eq!(free(), [1]);
    lanes.release(1);
    let mut free = || std::iter::from_fn(|| lanes.next()).collect::<Vec<_>>();
    assert_eq!(free(), [2, 3], "what is below another prefix of the same batch does not count");
}
