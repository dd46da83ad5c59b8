"""web3.py: everything through its middleware, contracts, filters, subscriptions and error classes."""

import asyncio

import pytest
from eth_account import Account
from hexbytes import HexBytes
from network import (
    CHAIN_ID,
    ELSEWHERE,
    HOME,
    INDEX,
    MNEMONIC,
    REFUSED,
    UNKNOWN_HASH,
    UNKNOWN_METHOD,
    URLS,
    WAIT_S,
    contract,
    fresh_address,
    web_socket,
)
from web3 import AsyncWeb3, HTTPProvider, Web3, WebSocketProvider
from web3.exceptions import (
    BlockNotFound,
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
    Web3RPCError,
)
from web3.middleware import SignAndSendRawMiddlewareBuilder
from web3.utils.subscriptions import LogsSubscription, NewHeadsSubscription

Account.enable_unaudited_hdwallet_features()
ACCOUNT = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{INDEX}")
ME = ACCOUNT.address


def client(url: str, account=ACCOUNT) -> Web3:
    w3 = Web3(HTTPProvider(url, request_kwargs={"timeout": WAIT_S}, exception_retry_configuration=None))
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    w3.eth.default_account = account.address
    return w3


CLIENTS = [client(url) for url in URLS]
W3 = CLIENTS[HOME]
READER = CLIENTS[ELSEWHERE]


def test_every_endpoint_names_the_chain_and_the_balance_of_a_development_account():
    for w3 in CLIENTS:
        assert w3.is_connected(show_traceback=True)
        assert w3.eth.chain_id == CHAIN_ID
        assert w3.net.version == str(CHAIN_ID)
        assert w3.eth.get_balance(ME) > Web3.to_wei(1000, "ether")
        assert w3.eth.get_balance(fresh_address()) == 0
        assert w3.eth.syncing is False
        assert "/" in w3.client_version


def test_a_transfer_moves_its_value_exactly_and_is_seen_at_every_endpoint():
    to, before = fresh_address(), W3.eth.get_balance(ME)
    receipt = mined(W3.eth.send_transaction({"to": to, "value": 250}))
    assert (receipt["status"], receipt["gasUsed"], receipt["type"]) == (1, 21000, 2)
    for w3 in everywhere(receipt["transactionHash"]):
        assert w3.eth.get_balance(to) == 250
        assert w3.eth.get_balance(ME) == before - 250 - 21000 * receipt["effectiveGasPrice"]


def test_a_transaction_may_enter_at_any_endpoint():
    for w3 in CLIENTS:
        to = fresh_address()
        for other in everywhere(w3.eth.send_transaction({"to": to, "value": 7})):
            assert other.eth.get_balance(to) == 7


def test_fees_follow_eip_1559():
    tip = Web3.to_wei(1, "gwei")
    cap = 2 * W3.eth.get_block("latest")["baseFeePerGas"] + tip
    receipt = mined(W3.eth.send_transaction(
        {"to": fresh_address(), "value": 1, "maxFeePerGas": cap, "maxPriorityFeePerGas": tip}))
    block = W3.eth.get_block(receipt["blockNumber"])
    assert receipt["effectiveGasPrice"] == block["baseFeePerGas"] + tip
    history = W3.eth.fee_history(2, "latest", [10, 90])
    assert len(history["baseFeePerGas"]) == len(history["gasUsedRatio"]) + 1
    assert all(len(rewards) == 2 for rewards in history["reward"])
    assert W3.eth.gas_price > 0 and W3.eth.max_priority_fee >= 0


def test_blocks_read_by_number_and_by_hash_agree_and_carry_their_transactions():
    receipt = mined(W3.eth.send_transaction({"to": fresh_address(), "value": 5, "data": "0xc0c0"}))
    by_number = W3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    by_hash = W3.eth.get_block(receipt["blockHash"], full_transactions=True)
    assert by_hash == by_number and by_hash["hash"] == receipt["blockHash"]
    alone = W3.eth.get_transaction(receipt["transactionHash"])
    assert by_hash["transactions"][receipt["transactionIndex"]] == alone
    assert W3.eth.get_transaction_by_block(receipt["blockNumber"], receipt["transactionIndex"]) == alone
    assert (alone["value"], alone["input"], alone["chainId"], alone["from"]) == (5, HexBytes("0xc0c0"), CHAIN_ID, ME)
    assert W3.eth.get_block_transaction_count(receipt["blockHash"]) == len(by_hash["transactions"])
    assert W3.eth.get_block(by_hash["parentHash"])["number"] == by_hash["number"] - 1
    assert receipt in W3.eth.get_block_receipts(receipt["blockNumber"])


def test_what_does_not_exist_is_null():
    for w3 in CLIENTS:
        with pytest.raises(TransactionNotFound):
            w3.eth.get_transaction(UNKNOWN_HASH)
        with pytest.raises(TransactionNotFound):
            w3.eth.get_transaction_receipt(UNKNOWN_HASH)
        for unknown in (UNKNOWN_HASH, 999_999_999):
            with pytest.raises(BlockNotFound):
                w3.eth.get_block(unknown)


def test_an_erc_20_is_deployed_read_transferred_and_spent_by_allowance():
    token = deploy("Token", "Coco Coin", "COCO", 1_000_000)
    read = token.functions
    assert [read.name().call(), read.symbol().call(), read.decimals().call(), read.totalSupply().call()] == [
        "Coco Coin", "COCO", 18, 1_000_000]
    to = fresh_address()
    receipt = mined(read.transfer(to, 400).transact())
    (event,) = token.events.Transfer().process_receipt(receipt)
    assert event["args"] == {"from": ME, "to": Web3.to_checksum_address(to), "value": 400}

    spender = funded_account()
    mined(read.approve(spender.address, 100).transact())
    theirs = client(URLS[HOME], spender).eth.contract(address=token.address, abi=token.abi)
    everywhere(theirs.functions.transferFrom(ME, to, 60).transact())
    there = at(READER, token)
    assert there.functions.allowance(ME, spender.address).call() == 40
    assert there.functions.balanceOf(to).call() == 460
    with pytest.raises(ContractCustomError) as refusal:
        theirs.functions.transferFrom(ME, to, 41).transact()
    assert custom_error(refusal, "ERC20InsufficientAllowance", "address", "uint256", "uint256") == (
        spender.address.lower(), 40, 41)


def test_events_are_found_by_log_query_by_topic_and_by_block():
    token = deploy("Token", "Logs", "LOG", 1000)
    one, two = fresh_address(), fresh_address()
    mined(token.functions.transfer(one, 1).transact())
    mined(token.functions.transfer(two, 2).transact())
    last = mined(token.functions.transfer(one, 3).transact())
    for w3 in everywhere(last["transactionHash"]):
        transfers = at(w3, token).events.Transfer()
        assert values(transfers.get_logs(from_block=0)) == [1000, 1, 2, 3]
        assert values(transfers.get_logs(from_block=0, argument_filters={"to": one})) == [1, 3]
    in_block = W3.eth.get_logs({"blockHash": last["blockHash"], "address": token.address})
    assert [log["transactionHash"] for log in in_block] == [last["transactionHash"]]


def test_an_installed_filter_gives_its_changes_once_and_its_logs_again():
    token = deploy("Token", "Filtered", "FILT", 1000)
    to = fresh_address()
    installed = token.events.Transfer.create_filter(from_block=0, argument_filters={"to": to})
    assert installed.get_new_entries() == []
    mined(token.functions.transfer(to, 1).transact())
    mined(token.functions.transfer(to, 2).transact())
    assert values(installed.get_new_entries()) == [1, 2]
    assert installed.get_new_entries() == []
    assert values(installed.get_all_entries()) == [1, 2]
    assert W3.eth.uninstall_filter(installed.filter_id)


def test_a_block_filter_names_each_new_block():
    blocks = W3.eth.filter("latest")
    receipts = [mined(W3.eth.send_transaction({"to": fresh_address(), "value": 1})) for _ in range(2)]
    announced = blocks.get_new_entries()
    assert all(receipt["blockHash"] in announced for receipt in receipts)


def test_a_subscription_over_web_socket_hears_events():
    token = deploy("Token", "Pushed", "PUSH", 1000)
    to = fresh_address()
    topics = [token.events.Transfer().topic, None, "0x" + to.rjust(32, b"\0").hex()]
    heard = []

    async def listen():
        async with AsyncWeb3(WebSocketProvider(web_socket(URLS[ELSEWHERE]))) as socket:
            async def hear(context):
                heard.append(int.from_bytes(context.result["data"], "big"))
                if len(heard) == 3:
                    await context.subscription.unsubscribe()

            await socket.subscription_manager.subscribe(LogsSubscription(token.address, topics, hear))
            sending = asyncio.to_thread(
                lambda: [mined(token.functions.transfer(to, value).transact()) for value in (1, 2, 3)])
            await asyncio.wait_for(
                asyncio.gather(sending, socket.subscription_manager.handle_subscriptions()), WAIT_S)

    asyncio.run(listen())
    assert heard == [1, 2, 3]


def test_new_blocks_are_announced_over_web_socket_in_order_and_without_gaps():
    announced = []

    async def listen():
        async with AsyncWeb3(WebSocketProvider(web_socket(URLS[HOME]))) as socket:
            async def hear(context):
                announced.append(context.result["number"])
                if len(announced) == 3:
                    await context.subscription.unsubscribe()

            await socket.subscription_manager.subscribe(NewHeadsSubscription(handler=hear))
            sending = asyncio.to_thread(
                lambda: [mined(W3.eth.send_transaction({"to": fresh_address(), "value": 1})) for _ in range(3)])
            await asyncio.wait_for(
                asyncio.gather(sending, socket.subscription_manager.handle_subscriptions()), WAIT_S)

    asyncio.run(listen())
    assert announced[:3] == list(range(announced[0], announced[0] + 3))


def test_an_erc_721_is_deployed_minted_approved_and_transferred():
    collectible = deploy("Collectible", "Things", "THING")
    assert collectible.functions.supportsInterface("0x80ac58cd").call() is True
    assert collectible.functions.supportsInterface("0xffffffff").call() is False
    owner, other = funded_account(), fresh_address()
    mined(collectible.functions.mint(ME, 1).transact())
    mined(collectible.functions.mint(owner.address, 2).transact())
    mined(collectible.functions.transferFrom(ME, other, 1).transact())
    theirs = client(URLS[HOME], owner).eth.contract(address=collectible.address, abi=collectible.abi)
    mined(theirs.functions.approve(ME, 2).transact())
    safe_transfer = collectible.get_function_by_signature("safeTransferFrom(address,address,uint256,bytes)")
    everywhere(safe_transfer(owner.address, other, 2, b"\x01").transact())
    there = at(READER, collectible)
    assert there.functions.balanceOf(other).call() == 2
    received = there.events.Transfer().get_logs(from_block=0, argument_filters={"to": other})
    assert [event["args"]["tokenId"] for event in received] == [1, 2]
    with pytest.raises(ContractCustomError) as refusal:
        collectible.functions.ownerOf(3).call()
    assert custom_error(refusal, "ERC721NonexistentToken", "uint256") == (3,)


def test_a_batch_is_answered_in_order():
    with W3.batch_requests() as batch:
        for _ in range(10):
            batch.add(W3.eth.get_balance(ME))
        batch.add(W3.eth.get_block("latest"))
        answers = batch.execute()
    assert len(answers) == 11 and len(set(answers[:10])) == 1
    assert answers[10]["number"] >= 0


def test_gas_estimates_suffice():
    assert W3.eth.estimate_gas({"from": ME, "to": fresh_address(), "value": 1}) == 21000
    token = deploy("Token", "Estimated", "EST", 1000)
    transfer = token.functions.transfer(fresh_address(), 1)
    gas = transfer.estimate_gas({"from": ME})
    receipt = mined(transfer.transact({"gas": gas}))
    assert receipt["status"] == 1 and receipt["gasUsed"] <= gas < 2 * receipt["gasUsed"]


@pytest.mark.parametrize("how", ["call", "estimate_gas", "transact"])
def test_a_revert_reason_a_custom_error_a_panic_and_an_empty_revert_are_each_decoded(how):
    trip = deploy("Tripwire").functions
    with pytest.raises(ContractLogicError, match="execution reverted: tripped on purpose"):
        getattr(trip.withReason(), how)({"from": ME})
    with pytest.raises(ContractCustomError) as refusal:
        getattr(trip.withCustomError(42), how)({"from": ME})
    assert custom_error(refusal, "Tripped", "address", "uint256", "string") == (ME.lower(), 42, "custom")
    with pytest.raises(ContractPanicError, match="Division by zero"):
        getattr(trip.withPanic(0), how)({"from": ME})
    with pytest.raises(ContractLogicError) as refusal:
        getattr(trip.withoutReason(), how)({"from": ME})
    assert type(refusal.value) is ContractLogicError and refusal.value.data == "0x"


def test_a_transaction_that_reverts_is_included_pays_for_its_gas_and_changes_nothing_else():
    tripwire = deploy("Tripwire")
    reverted = mined(tripwire.functions.withReason().transact({"gas": 100_000}))
    assert reverted["status"] == 0 and reverted["logs"] == [] and 21_000 < reverted["gasUsed"] < 100_000
    exhausted = mined(tripwire.functions.withEndlessLoop().transact({"gas": 90_000}))
    assert (exhausted["status"], exhausted["gasUsed"]) == (0, 90_000)
    assert tripwire.functions.touched().call() == 0


def test_a_nonce_already_used_is_refused():
    mined(W3.eth.send_transaction({"to": fresh_address(), "value": 1}))
    nonce = W3.eth.get_transaction_count(ME) - 1
    with pytest.raises(Web3RPCError, match="(?i)nonce too low") as refusal:
        W3.eth.send_transaction({"to": fresh_address(), "value": 2, "nonce": nonce, "gas": 21000})
    assert code(refusal) in REFUSED


def test_less_than_the_intrinsic_gas_is_refused():
    with pytest.raises(Web3RPCError, match="(?i)intrinsic gas too low") as refusal:
        W3.eth.send_transaction({"to": fresh_address(), "value": 1, "gas": 20_999})
    assert code(refusal) in REFUSED


def test_a_sender_who_cannot_pay_is_refused():
    poor = client(URLS[HOME], Account.create())
    with pytest.raises(Web3RPCError, match="(?i)insufficient funds") as refusal:
        poor.eth.send_transaction({"to": fresh_address(), "value": 1, "gas": 21000})
    assert code(refusal) in REFUSED


def test_an_unknown_method_is_refused_as_such():
    for w3 in CLIENTS:
        with pytest.raises(Web3RPCError) as refusal:
            w3.manager.request_blocking("coco_noSuchMethod", [])
        assert code(refusal) == UNKNOWN_METHOD


def test_transactions_of_types_0_1_2_and_4_are_accepted_and_keep_their_type():
    tripwire = deploy("Tripwire")
    delegate = deploy("Wallet")
    authority = Account.create()
    authorization = authority.sign_authorization({"chainId": CHAIN_ID, "address": delegate.address, "nonce": 0})
    access_list = [{"address": tripwire.address, "storageKeys": ["0x" + "00" * 32]}]
    gas_price = 2 * W3.eth.gas_price
    fees = {"maxFeePerGas": gas_price, "maxPriorityFeePerGas": 1}
    variants = [
        (0, {"gasPrice": gas_price}),
        (1, {"gasPrice": gas_price, "accessList": access_list}),
        (2, fees),
        (4, {**fees, "authorizationList": [authorization]}),
    ]
    for kind, variant in variants:
        sent = tripwire.functions.succeed().transact({"gas": 200_000, **variant})
        receipt, read = mined(sent), W3.eth.get_transaction(sent)
        assert (receipt["status"], receipt["type"], read["type"]) == (1, kind, kind)
        if kind == 1:
            assert read["accessList"][0]["address"] == tripwire.address
    assert tripwire.functions.touched().call() == 4
    assert W3.eth.get_code(authority.address) == HexBytes("0xef0100" + delegate.address[2:])


# ---- steps


def mined(transaction):
    return W3.eth.wait_for_transaction_receipt(transaction, timeout=WAIT_S, poll_latency=0.02)


def everywhere(transaction):
    """Waits until every endpoint shows the receipt, the same one; returns the clients."""
    receipts = [w3.eth.wait_for_transaction_receipt(transaction, timeout=WAIT_S, poll_latency=0.02) for w3 in CLIENTS]
    assert all(receipt == receipts[0] for receipt in receipts)
    return CLIENTS


def deploy(name, *arguments):
    compiled = contract(name)
    factory = W3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    receipt = mined(factory.constructor(*arguments).transact())
    everywhere(receipt["transactionHash"])
    return W3.eth.contract(address=receipt["contractAddress"], abi=compiled["abi"])


def at(w3, deployed):
    return w3.eth.contract(address=deployed.address, abi=deployed.abi)


def funded_account():
    account = Account.create()
    mined(W3.eth.send_transaction({"to": account.address, "value": Web3.to_wei(1, "ether")}))
    return account


def values(events):
    return [event["args"]["value"] for event in events]


def custom_error(refusal, name, *types):
    """The arguments of the custom error `name(types)`, which must be the one in the error's data."""
    data = HexBytes(refusal.value.data)
    assert data[:4] == Web3.keccak(text=f"{name}({','.join(types)})")[:4]
    return W3.codec.decode(types, data[4:])


def code(refusal):
    return refusal.value.rpc_response["error"]["code"]
