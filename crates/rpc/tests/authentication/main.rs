//! Who a request is from: certificates of organisations, tokens, signed requests, and everything that is wrong with them.

mod chains;
mod members;
mod signed;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use coco_governance::jwt;
use coco_kv::{Store, Tx};
use coco_protocol::Caller;
use coco_rpc::authentication::{Authenticator, Denied, Facts, Presented};
use coco_types::MapName;
use http::Request;

const NOW_S: u64 = 1_800_000_000;

/// A node's committed rows, its clock, and what judges by them.
struct Network {
    store: Arc<Store>,
    now_s: Arc<AtomicU64>,
    authenticator: Arc<Authenticator>,
}

impl Network {
    fn new() -> Self {
        let (store, now_s) = (Arc::new(Store::new()), Arc::new(AtomicU64::new(NOW_S)));
        let (rows, clock) = (store.clone(), now_s.clone());
        let authenticator = Authenticator::new(move || Facts {
            state: rows.snapshot(),
            actors_version: rows.committed().0,
            now_s: clock.load(Ordering::Relaxed),
        });
        Self { store, now_s, authenticator }
    }

    fn write(&self, write: impl FnOnce(&mut Tx)) {
        let mut tx = self.store.begin();
        write(&mut tx);
        let next = self.store.newest().next();
        self.store.apply(next, tx.writes()).unwrap();
        self.store.commit(next);
    }

    fn put(&self, map: &MapName, key: &str, value: &str) {
        self.write(|tx| tx.put(map, key.to_owned().into_bytes(), value.to_owned().into_bytes()));
    }

    fn set_keys(&self, issuer: &str, jwks: &serde_json::Value) {
        self.write(|tx| jwt::set_keys(tx, issuer, &jwks.to_string()).unwrap());
    }

    fn at(&self, now_s: u64) {
        self.now_s.store(now_s, Ordering::Relaxed);
    }

    fn caller(&self, presented: Option<&Presented>, request: &mut Request<Bytes>) -> Result<Caller, Denied> {
        self.authenticator.caller_of(presented, request)
    }
}
