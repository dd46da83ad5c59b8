use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use coco_kv::Store;
use revm::context::TxEnv;
use revm::primitives::TxKind;

use super::{CodeCache, Environment, call};
use crate::fork::ForkSchedule;
use crate::network::NetworkConfig;
use crate::state::{Account, Overlay, ReadState, State, Undo, set_account, set_code};

/// An empty state at the newest fork.
struct Fixture {
    state: Overlay,
    codes: CodeCache,
    environment: Environment,
}

impl Fixture {
    fn new() -> Self {
        let schedule = ForkSchedule::new(NetworkConfig::default().genesis.config);
        let header = Header { number: 1, gas_limit: 30_000_000, ..Header::default() };
        let environment = Environment::new(&schedule, &header);
        let state = Overlay::new(Arc::new(Store::new().snapshot()));
        Self { state, codes: CodeCache::new(), environment }
    }

    fn deploy(&mut self, address: Address, code: &[u8]) {
        let code_hash = keccak256(code);
        set_code(&mut self.state, code_hash, &Bytes::copy_from_slice(code));
        let account = Account { code_hash, ..Account::default() };
        set_account(&mut self.state, &address, &account, &mut Undo::default());
    }

    fn tx(to: Address, input: Bytes) -> TxEnv {
        TxEnv { kind: TxKind::Call(to), data: input, gas_limit: 10_000_000, chain_id: Some(31_337), ..TxEnv::default() }
    }

    /// The output of a successful call.
    fn call(&mut self, to: Address, input: impl Into<Bytes>) -> Option<Bytes> {
        let tx = Self::tx(to, input.into());
        let executed = call(&mut self.state, &self.codes, &self.environment, tx, &mut || false).unwrap().unwrap();
        executed.result.is_success().then(|| executed.result.output().cloned().unwrap_or_default())
    }
}

#[test]
fn precompiles_of_the_newest_fork_work_without_foreign_libraries() {
    let mut evm = Fixture::new();
    // EIP-7951, test vector of RFC 6979 A.2.5: P-256, SHA-256, message "sample".
    let p256 = hex!(
        "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    );
    let p256_verify = address!("0000000000000000000000000000000000000100");
    assert_eq!(evm.call(p256_verify, p256).unwrap(), B256::with_last_byte(1).to_vec());
    let mut forged = p256;
    forged[40] ^= 1;
    assert_eq!(evm.call(p256_verify, forged).unwrap(), Bytes::new());

    // BLS12-381: adding the point at infinity to itself gives it again; a point off the curve fails.
    let g1_add = address!("000000000000000000000000000000000000000b");
    assert_eq!(evm.call(g1_add, vec![0; 256]).unwrap(), vec![0; 128]);
    assert_eq!(evm.call(g1_add, vec![1; 256]), None);

    // EIP-4844: the commitment to the zero polynomial opens to zero everywhere.
    let mut opening = vec![0; 192];
    let commitment = {
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        infinity
    };
    opening[..32].copy_from_slice(&versioned_hash(&commitment));
    opening[96..144].copy_from_slice(&commitment);
    opening[144..].copy_from_slice(&commitment);
    let kzg = address!("000000000000000000000000000000000000000a");
    assert_eq!(evm.call(kzg, opening.clone()).unwrap().len(), 64);
    opening[95] = 1;
    assert_eq!(evm.call(kzg, opening), None);
}

fn versioned_hash(commitment: &[u8]) -> [u8; 32] {
    let mut hash = coco_crypto::sha256(commitment).0;
    hash[0] = 1;
    hash
}

#[test]
fn a_call_that_runs_too_long_is_interrupted() {
    let mut evm = Fixture::new();
    let forever = Address::repeat_byte(1);
    // JUMPDEST, PUSH0, JUMP.
    evm.deploy(forever, &hex!("5b5f56"));
    let mut questions = 0;
    let mut deadline = || {
        questions += 1;
        questions > 3
    };
    let tx = Fixture::tx(forever, Bytes::new());
    let stopped = call(&mut evm.state, &evm.codes, &evm.environment, tx, &mut deadline).unwrap();
    assert!(stopped.is_none());
    assert_eq!(questions, 4);
}

#[test]
fn a_call_changes_nothing() {
    let mut evm = Fixture::new();
    let writer = Address::repeat_byte(1);
    // PUSH1 7, PUSH0, SSTORE.
    evm.deploy(writer, &hex!("60075f55"));
    assert!(evm.call(writer, Bytes::new()).is_some());
    let state: &mut dyn State = &mut evm.state;
    assert_eq!(state.slot(&writer, U256::ZERO).unwrap(), U256::ZERO);
}

#[test]
fn code_that_only_looks_like_a_delegation_is_plain_code() {
    let mut evm = Fixture::new();
    let odd = Address::repeat_byte(1);
    evm.deploy(odd, &hex!("ef0100"));
    assert_eq!(evm.call(odd, Bytes::new()), None, "0xef is no instruction");
}

#[test]
fn overlays_do_not_reach_what_is_below_them() {
    let mut evm = Fixture::new();
    let address = Address::repeat_byte(1);
    let mut above = Overlay::new(Arc::new(evm.state.clone()));
    set_account(&mut above, &address, &Account { nonce: 5, ..Account::default() }, &mut Undo::default());
    assert_eq!((&above as &dyn ReadState).account(&address).unwrap().unwrap().nonce, 5);
    assert_eq!((&mut evm.state as &mut dyn State).account(&address).unwrap(), None);
}
