//! What developers do to their chain.

use alloy_primitives::{Address, U256, hex};
use serde_json::{Value, json};

use super::{Client, address, keeper_init, word};
use crate::testing::{Node, dev_key, sign, transfer};

const SOMEBODY: &str = "0x1111111111111111111111111111111111111111";

impl Client {
    fn number(&self) -> u64 {
        quantity(&self.ask("eth_blockNumber", json!([])))
    }

    fn latest(&self) -> Value {
        self.ask("eth_getBlockByNumber", json!(["latest", false]))
    }

    fn balance(&self, address: &str) -> u64 {
        quantity(&self.ask("eth_getBalance", json!([address, "latest"])))
    }

    /// Sends wei from the first development account.
    fn pay(&self, to: &str, wei: u64) -> String {
        let from = &self.ask("eth_accounts", json!([]))[0];
        let sent = self.ask("eth_sendTransaction", json!([{"from": from, "to": to, "value": format!("{wei:#x}")}]));
        sent.as_str().unwrap().to_owned()
    }
}

fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap()
}

#[test]
fn an_edit_shows_at_once_and_belongs_to_the_next_block() {
    let client = Client::new();
    let slot = word(7);
    for (method, params) in [
        ("hardhat_setBalance", json!([SOMEBODY, "0x64"])),
        ("anvil_addBalance", json!([SOMEBODY, "0x1"])),
        ("hardhat_setNonce", json!([SOMEBODY, "0x5"])),
        ("anvil_setCode", json!([SOMEBODY, "0x60016000"])),
        ("hardhat_setStorageAt", json!([SOMEBODY, "0x1", slot])),
    ] {
        assert_eq!(client.ask(method, params), json!(true), "{method}");
    }
    assert_eq!((client.number(), client.balance(SOMEBODY)), (0, 101));
    assert_eq!(client.ask("eth_getTransactionCount", json!([SOMEBODY, "latest"])), json!("0x5"));
    assert_eq!(client.ask("eth_getCode", json!([SOMEBODY, "latest"])), json!("0x60016000"));
    assert_eq!(client.ask("eth_getStorageAt", json!([SOMEBODY, "0x1", "latest"])), json!(slot));
    client.ask("evm_mine", json!([]));
    assert_eq!(client.number(), 1);
    let proof = client.ask("eth_getProof", json!([SOMEBODY, ["0x1"], "latest"]));
    assert_eq!((&proof["balance"], &proof["storageProof"][0]["value"]), (&json!("0x65"), &json!("0x7")));
    assert_eq!(client.ask("eth_getBalance", json!([SOMEBODY, "0x0"])), json!("0x0"), "not yet in block 0");
    client.ask("hardhat_setBalance", json!([SOMEBODY, "0x0"]));
    assert_eq!(client.ask("eth_getBalance", json!([SOMEBODY, "0x0"])), json!("0x0"));
    assert_eq!(client.ask("eth_getBalance", json!([SOMEBODY, "0x1"])), json!("0x0"), "the newest block is the state");
    client.ask("evm_mine", json!([]));
    assert_eq!(client.ask("eth_getBalance", json!([SOMEBODY, "0x1"])), json!("0x65"));
}

#[test]
fn going_back_restores_accounts_blocks_and_settings_and_a_snapshot_serves_once() {
    let client = Client::new();
    client.pay(SOMEBODY, 10);
    client.ask("hardhat_setBalance", json!([SOMEBODY, "0xb"]));
    client.ask("evm_setAutomine", json!([true]));
    let hash = client.latest()["hash"].clone();
    let snapshot = client.ask("evm_snapshot", json!([]));
    assert!(snapshot.as_str().unwrap().starts_with("0x"));
    let later = client.ask("evm_snapshot", json!([]));
    let lost = client.pay(SOMEBODY, 1);
    let lost_block = client.latest()["hash"].clone();
    client.ask("hardhat_mine", json!(["0x12c"]));
    client.ask("evm_increaseTime", json!([1000]));
    client.ask("hardhat_setBalance", json!([SOMEBODY, "0x0"]));
    assert_eq!(client.number(), 302);

    assert_eq!(client.ask("evm_revert", json!([snapshot])), json!(true));
    assert_eq!((client.number(), client.balance(SOMEBODY)), (1, 11));
    assert_eq!(client.latest()["hash"], hash);
    assert_eq!(client.ask("eth_getTransactionByHash", json!([lost])), Value::Null);
    assert_eq!(client.ask("eth_getBlockByHash", json!([lost_block, false])), Value::Null);
    for used in [&snapshot, &later, &json!("0x77")] {
        assert_eq!(client.ask("evm_revert", json!([used])), json!(false));
    }
    client.pay(SOMEBODY, 2);
    assert_eq!((client.number(), client.balance(SOMEBODY)), (2, 13));
    assert_eq!(client.ask("eth_getTransactionByHash", json!([lost])), Value::Null, "another block has its number");
    assert_eq!(client.ask("eth_getBlockByHash", json!([lost_block, false])), Value::Null);
    assert_eq!(client.ask("eth_getBalance", json!([SOMEBODY, "0x1"])), json!("0xa"));
    client.ask("eth_getProof", json!([SOMEBODY, [], "0x1"]));
}

#[test]
fn a_node_that_was_started_again_and_one_that_followed_know_where_the_chain_is_after_going_back() {
    let client = Client::new();
    client.pay(SOMEBODY, 10);
    let snapshot = client.ask("evm_snapshot", json!([]));
    client.ask("hardhat_mine", json!(["0x5"]));
    client.pay(SOMEBODY, 1);
    client.ask("evm_revert", json!([snapshot]));
    client.ask("hardhat_setBalance", json!([SOMEBODY, "0x63"]));
    let head = client.latest()["hash"].clone();
    for node in [
        client.node.restarted(std::sync::Arc::new(super::developer())),
        client.node.follower(std::sync::Arc::new(super::developer())),
    ] {
        let again = Client { service: node.protocol().clone().serve(node.clone()), node };
        assert_eq!((again.latest()["hash"].clone(), again.balance(SOMEBODY)), (head.clone(), 99));
        again.pay(SOMEBODY, 1);
        assert_eq!((again.number(), again.balance(SOMEBODY)), (2, 100));
        again.ask("eth_getProof", json!([SOMEBODY, [], "latest"]));
    }
}

#[test]
fn a_reset_leads_to_the_first_block_and_a_rollback_some_blocks_back() {
    let client = Client::new();
    client.ask("anvil_mine", json!([3]));
    client.pay(SOMEBODY, 10);
    client.ask("anvil_setTime", json!([4_000_000_000u64]));
    assert_eq!(client.ask("anvil_rollback", json!([2])), json!(true));
    assert_eq!((client.number(), client.balance(SOMEBODY)), (2, 0));
    assert_eq!(client.fail("anvil_rollback", json!([3])).0, -32602);
    client.ask("evm_mine", json!([]));
    assert!(quantity(&client.latest()["timestamp"]) >= 4_000_000_000, "the clock was not part of it");
    assert_eq!(client.ask("hardhat_reset", json!([])), json!(true));
    assert_eq!(client.number(), 0);
    client.pay(SOMEBODY, 10);
    assert_eq!((client.number(), client.balance(SOMEBODY)), (1, 10));
    assert!(quantity(&client.latest()["timestamp"]) < 4_000_000_000);
    let forking = json!([{"forking": {"jsonRpcUrl": "http://localhost"}}]);
    assert_eq!(client.fail("hardhat_reset", forking).0, -32602);
}

#[test]
fn the_clock_goes_where_it_is_put() {
    let client = Client::new();
    let time = |client: &Client| {
        client.ask("evm_mine", json!([]));
        quantity(&client.latest()["timestamp"])
    };
    let first = time(&client);
    assert_eq!(client.ask("evm_increaseTime", json!([3600])), json!(3600));
    let second = time(&client);
    assert!((first + 3600..first + 3700).contains(&second), "{first} {second}");
    client.ask("evm_setNextBlockTimestamp", json!([second + 5000]));
    assert_eq!(time(&client), second + 5000);
    let third = time(&client);
    assert!((second + 5001..second + 5100).contains(&third), "time goes on from there");
    let (code, message) = client.fail("evm_setNextBlockTimestamp", json!([third]));
    assert!(code == -32602 && message.contains(&third.to_string()), "{message}");
    client.ask("anvil_setBlockTimestampInterval", json!([7]));
    assert_eq!((time(&client), time(&client)), (third + 7, third + 14));
    client.ask("anvil_removeBlockTimestampInterval", json!([]));
    client.ask("evm_mine", json!([third + 9_999]));
    assert_eq!(quantity(&client.latest()["timestamp"]), third + 9_999);
    assert_eq!(client.fail("evm_mine", json!([third])).0, -32602);
    client.ask("hardhat_mine", json!(["0x3", "0x3c"]));
    let number = client.number();
    let block = |number: u64| client.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
    let times: Vec<u64> = (number - 2..=number).map(|number| quantity(&block(number)["timestamp"])).collect();
    assert_eq!((times[1] - times[0], times[2] - times[1]), (60, 60));
}

#[test]
fn what_is_tried_on_the_pending_block_sees_its_time() {
    let client = Client::new();
    // TIMESTAMP, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN
    client.ask("hardhat_setCode", json!([SOMEBODY, "0x425f5260205ff3"]));
    let seen = |tag: Value| {
        let word = client.ask("eth_call", json!([{"to": SOMEBODY}, tag]));
        u64::from_str_radix(&word.as_str().unwrap()[50..], 16).unwrap()
    };
    let now = quantity(&client.latest()["timestamp"]);
    let later = seen(json!("pending")) + 5_000;
    client.ask("evm_setNextBlockTimestamp", json!([later]));
    assert_eq!((seen(json!("latest")), seen(json!("pending"))), (now, later));
    client.ask("evm_mine", json!([]));
    assert_eq!(seen(json!("latest")), later);
    client.ask("evm_increaseTime", json!([700]));
    assert!(seen(json!("pending")) >= later + 700);
}

#[test]
fn the_next_block_is_what_it_was_set_to_be_and_only_that_one() {
    let client = Client::new();
    client.ask("hardhat_setNextBlockBaseFeePerGas", json!(["0x3b9aca07"]));
    client.ask("hardhat_setPrevRandao", json!([word(0x77)]));
    client.ask("hardhat_setCoinbase", json!([SOMEBODY]));
    client.ask("evm_setBlockGasLimit", json!(["0x1c9c381"]));
    client.pay("0x2222222222222222222222222222222222222222", 1);
    let block = client.latest();
    assert_eq!(block["baseFeePerGas"], json!("0x3b9aca07"));
    assert_eq!((&block["mixHash"], &block["miner"]), (&json!(word(0x77)), &json!(SOMEBODY)));
    assert_eq!(block["gasLimit"], json!("0x1c9c381"));
    client.ask("evm_mine", json!([]));
    let block = client.latest();
    assert_ne!((&block["baseFeePerGas"], &block["mixHash"]), (&json!("0x3b9aca07"), &json!(word(0x77))));
    assert_eq!((&block["miner"], &block["gasLimit"]), (&json!(SOMEBODY), &json!("0x1c9c381")));
    assert_eq!(client.fail("evm_setBlockGasLimit", json!(["0x1"])).0, -32602);
}

#[test]
fn without_automine_transactions_wait_for_the_block_that_is_asked_for() {
    let client = Client::new();
    assert_eq!(client.ask("anvil_getAutomine", json!([])), json!(true));
    client.ask("evm_setAutomine", json!([false]));
    let first = client.pay(SOMEBODY, 1);
    let second = client.pay(SOMEBODY, 2);
    assert_eq!((client.number(), client.balance(SOMEBODY)), (0, 0));
    assert_eq!(client.ask("hardhat_dropTransaction", json!([second])), json!(true));
    assert_eq!(client.ask("hardhat_dropTransaction", json!([second])), json!(false));
    let blocks = client.ask("anvil_mine_detailed", json!([]));
    assert_eq!(blocks[0]["transactions"][0]["hash"], json!(first));
    assert_eq!(blocks[0]["transactions"].as_array().unwrap().len(), 1);
    assert_eq!((client.number(), client.balance(SOMEBODY)), (1, 1));
    client.pay(SOMEBODY, 4);
    client.ask("anvil_dropAllTransactions", json!([]));
    client.ask("evm_mine", json!([{"blocks": 3}]));
    assert_eq!((client.number(), client.balance(SOMEBODY)), (4, 1));
    client.ask("evm_setAutomine", json!([true]));
    client.pay(SOMEBODY, 8);
    assert_eq!((client.number(), client.balance(SOMEBODY)), (5, 9));
    assert_eq!(client.fail("hardhat_mine", json!(["0x10001"])).0, -32602);
}

#[test]
fn whoever_is_impersonated_sends_even_a_contract() {
    let client = Client::new();
    let from = client.ask("eth_accounts", json!([]))[0].clone();
    let created = client.ask("eth_sendTransaction", json!([{"from": from, "data": keeper_init()}]));
    let contract = client.ask("eth_getTransactionReceipt", json!([created]))["contractAddress"].clone();
    client.ask("hardhat_setBalance", json!([contract, "0xde0b6b3a7640000"]));
    let send = json!([{"from": contract, "to": SOMEBODY, "value": "0x9"}]);
    assert_eq!(client.fail("eth_sendTransaction", send.clone()).1, "unknown account");
    client.ask("hardhat_impersonateAccount", json!([contract]));
    let sent = client.ask("eth_sendTransaction", send.clone());
    let receipt = client.ask("eth_getTransactionReceipt", json!([sent]));
    assert_eq!((&receipt["status"], &receipt["from"]), (&json!("0x1"), &contract));
    assert_eq!(client.balance(SOMEBODY), 9);
    assert_eq!(client.ask("eth_getTransactionByHash", json!([sent]))["from"], contract);
    client.ask("debug_traceTransaction", json!([sent]));
    client.ask("hardhat_stopImpersonatingAccount", json!([contract]));
    assert_eq!(client.fail("eth_sendTransaction", send.clone()).1, "unknown account");
    client.ask("anvil_autoImpersonateAccount", json!([true]));
    client.ask("eth_sendTransaction", send);
    assert_eq!(client.balance(SOMEBODY), 18);
}

#[test]
fn a_dumped_state_can_be_loaded_into_another_chain() {
    let client = Client::new();
    client.ask("hardhat_setBalance", json!([SOMEBODY, "0x64"]));
    client.ask("hardhat_setStorageAt", json!([SOMEBODY, "0x1", word(7)]));
    client.ask("hardhat_setCode", json!([SOMEBODY, "0x6001"]));
    let dump = client.ask("anvil_dumpState", json!([]));
    let other = Client::new();
    other.ask("hardhat_setStorageAt", json!([SOMEBODY, "0x2", word(8)]));
    assert_eq!(other.ask("anvil_loadState", json!([dump])), json!(true));
    assert_eq!(other.ask("anvil_dumpState", json!([])), dump);
    other.ask("evm_mine", json!([]));
    assert_eq!(other.ask("eth_getCode", json!([SOMEBODY, "latest"])), json!("0x6001"));
    assert_eq!(other.fail("anvil_loadState", json!(["0x1f8b"])).0, -32602);
    let plain =
        hex::encode_prefixed(format!(r#"{{"accounts":{{{SOMEBODY:?}:{{"nonce":3,"balance":"0x5","code":"0x"}}}}}}"#));
    assert_eq!(other.ask("anvil_loadState", json!([plain])), json!(true));
    assert_eq!(other.balance(SOMEBODY), 5);
}

#[test]
fn a_state_that_is_much_larger_than_its_packing_is_not_loaded() {
    let client = Client::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..65 {
        std::io::Write::write_all(&mut packed, &vec![b' '; 1 << 20]).unwrap();
    }
    let packed = hex::encode_prefixed(packed.finish().unwrap());
    let (code, message) = client.fail("anvil_loadState", json!([packed]));
    assert!(code == -32602 && message.contains("more than 67108864 bytes"), "{message}");
}

#[test]
fn contracts_take_an_impersonated_signature_for_the_accounts_it_is_said_to_be_of() {
    let client = Client::new();
    let signature = format!("0x{}{}1b", "01".repeat(32), "02".repeat(32));
    const PRECOMPILE: &str = "0x0000000000000000000000000000000000000001";
    // Hash, v, r and s, as contracts ask it.
    let input = format!("0x{}{:064x}{}{}", "03".repeat(32), 27, "01".repeat(32), "02".repeat(32));
    let signer = || client.ask("eth_call", json!([{"to": PRECOMPILE, "data": input}, "latest"]));
    let somebody = json!(format!("0x{}{}", "00".repeat(12), &SOMEBODY[2..]));
    assert_ne!(signer(), somebody);
    let before = client.ask("evm_snapshot", json!([]));
    assert_eq!(client.ask("anvil_impersonateSignature", json!([signature, SOMEBODY])), json!(true));
    assert_eq!(signer(), somebody);
    // The same in a transaction: code that asks the precompile and keeps the answer in slot 0.
    client.ask("hardhat_setCode", json!([address(9), "0x60805f5f3760205f60805f60015afa505f515f5500"]));
    let from = client.ask("eth_accounts", json!([]))[0].clone();
    let sent =
        client.ask("eth_sendTransaction", json!([{"from": from, "to": address(9), "data": input, "gas": "0x30d40"}]));
    client.ask("eth_getTransactionReceipt", json!([sent]));
    assert_eq!(client.ask("eth_getStorageAt", json!([address(9), "0x0", "latest"])), somebody);
    client.ask("evm_revert", json!([before]));
    assert_ne!(signer(), somebody, "it was set after the snapshot");
    assert_eq!(client.fail("anvil_impersonateSignature", json!(["0x01", SOMEBODY])).0, -32602);
}

#[test]
fn names_of_other_tools_mean_the_same() {
    let client = Client::new();
    client.ask("tenderly_setBalance", json!([SOMEBODY, "0x5"]));
    client.ask("tenderly_addBalance", json!([SOMEBODY, "0x2"]));
    assert_eq!(client.balance(SOMEBODY), 7);
    client.ask("evm_setAccountBalance", json!([SOMEBODY, "0x8"]));
    client.ask("evm_setAccountCode", json!([SOMEBODY, "0x6001"]));
    client.ask("evm_setAccountStorageAt", json!([SOMEBODY, "0x1", word(7)]));
    assert_eq!(client.balance(SOMEBODY), 8);
    let code_hash = alloy_primitives::keccak256([0x60, 0x01]);
    for key in [format!("{code_hash}"), format!("0x63{}", hex::encode(code_hash))] {
        assert_eq!(client.ask("debug_dbGet", json!([key])), json!("0x6001"));
    }
    assert_eq!(client.fail("debug_dbGet", json!(["0x6300"])), (-32000, "not found".to_owned()));
    client.ask("evm_addAccount", json!([SOMEBODY, "password"]));
    client.ask("evm_setAccountBalance", json!([SOMEBODY, "0xde0b6b3a7640000"]));
    client.ask("eth_sendTransaction", json!([{"from": SOMEBODY, "to": address(1)}]));
    client.ask("evm_removeAccount", json!([SOMEBODY, "password"]));
    client.fail("eth_sendTransaction", json!([{"from": SOMEBODY, "to": address(1)}]));
    let sent = client.ask("eth_sendUnsignedTransaction", json!([{"from": SOMEBODY, "to": address(1)}]));
    assert_eq!(client.ask("eth_getTransactionReceipt", json!([sent]))["from"], json!(SOMEBODY));
    assert_eq!(client.ask("eth_networkId", json!([])), client.ask("net_version", json!([])));
    for method in ["anvil_getBlobByHash", "anvil_getBlobsByTransactionHash"] {
        assert_eq!(client.ask(method, json!([word(7)])), json!(null));
    }
}

#[test]
fn tools_learn_what_they_speak_to() {
    let client = Client::new();
    let metadata = client.ask("hardhat_metadata", json!([]));
    assert_eq!((&metadata["chainId"], &metadata["latestBlockNumber"]), (&json!(31_337), &json!(0)));
    assert_eq!(client.ask("anvil_nodeInfo", json!([]))["hardFork"], json!("osaka"));
    assert_eq!(client.ask("hardhat_setLoggingEnabled", json!([false])), json!(true));
    client.ask("anvil_setChainId", json!([7]));
    assert_eq!(client.ask("eth_chainId", json!([])), json!("0x7"));
    client.pay(SOMEBODY, 1);
    assert_eq!(client.balance(SOMEBODY), 1);
}

#[test]
fn only_a_lone_developers_node_does_any_of_it_and_a_raw_transaction_can_ask_for_none() {
    let plain = Client::of(std::sync::Arc::new(super::network()), std::sync::Arc::new(coco_protocol::OpenGate));
    for method in ["evm_mine", "hardhat_setBalance", "anvil_impersonateAccount", "evm_whatever"] {
        let (code, message) = plain.fail(method, json!([SOMEBODY, "0x1"]));
        assert!(code == -32601 && message.contains("coco dev --nodes 1"), "{message}");
    }
    let client = Client::new();
    assert_eq!(client.fail("evm_whatever", json!([])).0, -32601);
    for raw in ["0x", "0x7b7d", "0x22"] {
        assert_ne!(client.fail("eth_sendRawTransaction", json!([raw])).0, -32603);
    }
    // Somebody else's transaction cannot be passed off without a signature.
    let mut node = Node::dev();
    let raw = sign(&dev_key(0), transfer(0, node.dev_address(1), 1));
    node.block(1_000, std::slice::from_ref(&raw))[0].as_ref().unwrap();
    let unsigned = crate::transaction::Transaction::recover(raw).unwrap();
    assert!(!unsigned.is_impersonated());
    assert_eq!(hex::encode(U256::ONE.to_be_bytes::<32>()).len(), 64);
}

/// Answers everything with the slot at keccak256(what it is asked about, 7): a token's balances.
const TOKEN_CODE: &str = "0x6004355f52600760205260405f20545f5260205ff3";

#[test]
fn tokens_are_dealt_by_finding_where_they_are_kept() {
    let client = Client::new();
    let token = "0x2222222222222222222222222222222222222222";
    client.ask("hardhat_setCode", json!([token, TOKEN_CODE]));
    let balance = |client: &Client| {
        let data = format!("0x70a08231{}{}", &word(0)[2..26], &SOMEBODY[2..]);
        client.ask("eth_call", json!([{"to": token, "data": data}]))
    };
    assert_eq!(balance(&client), word(0));
    assert_eq!(client.ask("anvil_dealERC20", json!([SOMEBODY, token, "0x1234"])), json!(true));
    assert_eq!(balance(&client), word(0x1234));
    let (code, message) = client.fail("anvil_dealERC20", json!([SOMEBODY, SOMEBODY, "0x1"]));
    assert!(code == -32000 && message.contains("no single storage slot"), "{message}");
}

#[test]
fn a_reorg_puts_other_blocks_in_the_place_of_the_newest() {
    let client = Client::new();
    for _ in 0..3 {
        client.ask("eth_sendTransaction", json!([{"from": address(0), "to": address(8), "value": "0x5"}]));
    }
    let hash = |number: &str| client.ask("eth_getBlockByNumber", json!([number, false]))["hash"].clone();
    let before = [hash("0x1"), hash("0x2"), hash("0x3")];
    let transfer = json!({"from": address(1), "to": address(9), "value": "0x7"});
    let deploy = json!({"from": address(1), "data": hex::encode_prefixed(keeper_init())});
    assert_eq!(client.ask("anvil_reorg", json!([2, [[transfer, 0], [deploy, 1]]])), Value::Null);
    assert_eq!(client.ask("eth_blockNumber", json!([])), "0x3");
    let after = [hash("0x1"), hash("0x2"), hash("0x3")];
    assert!(before[0] == after[0] && before[1] != after[1] && before[2] != after[2]);
    let paid = |account: usize| client.ask("eth_getBalance", json!([address(account), "latest"]));
    assert_eq!(client.ask("eth_getTransactionCount", json!([address(0), "latest"])), "0x1");
    assert!(paid(9).as_str() > paid(7).as_str());
    let newest = client.ask("eth_getBlockReceipts", json!(["latest"]));
    assert!(newest[0]["contractAddress"].is_string(), "{newest}");
    assert_eq!(client.ask("anvil_getAutomine", json!([])), true);

    assert_eq!(client.ask("anvil_reorg", json!([{"depth": 1, "txBlockPairs": []}])), Value::Null);
    assert_eq!(client.fail("anvil_reorg", json!([9])).0, -32602);
    assert_eq!(client.fail("anvil_reorg", json!([1, [[transfer, 1]]])).0, -32602);
    let unknown = json!([1, [[{"from": Address::ZERO, "to": address(9)}, 0]]]);
    assert_eq!(client.fail("anvil_reorg", unknown).1, "unknown account");
    assert_eq!(client.ask("anvil_getAutomine", json!([])), true);
}

#[test]
fn methods_that_hardhat_and_anvil_have_besides() {
    let client = Client::new();
    let receipt = client
        .ask("eth_sendTransactionSync", json!([{"from": address(0), "data": hex::encode_prefixed(keeper_init())}]));
    let contract = &receipt["contractAddress"];
    let account = client.ask("eth_getAccount", json!([contract, "latest"]));
    let info = client.ask("eth_getAccountInfo", json!([contract]));
    assert_eq!((&info["nonce"], &info["balance"]), (&account["nonce"], &account["balance"]));
    assert_eq!(client.ask("debug_codeByHash", json!([account["codeHash"]])), info["code"]);
    assert_eq!(client.ask("eth_getAccount", json!([Address::repeat_byte(7)])), Value::Null);
    client.ask("evm_setAutomine", json!([false]));
    let hash = client.ask("eth_sendTransaction", json!([{"from": address(0), "to": address(1)}]));
    assert_eq!(client.ask("eth_pendingTransactions", json!([]))[0]["hash"], hash);
    client.ask("hardhat_dropAllTransactions", json!([]));
    assert_eq!(client.ask("eth_pendingTransactions", json!([])), json!([]));
    assert!(client.ask("anvil_getGenesisTime", json!([])).is_u64());
}
