"""The REST API, as clients of the original use it."""

import base64

import cbor
import requests
from network import REST, SIGNER, address, batch, fresh_name, post, read, statuses, transaction


def value(rest, name):
    data = read(rest, f"/state/{address('intkey', name)}")["data"]
    return cbor.loads(base64.b64decode(data))[name]


def test_a_batch_is_committed_and_seen_on_every_node():
    name = fresh_name()
    first = transaction("set", name, 40)
    batches = [batch(first), batch(transaction("inc", name, 2, dependencies=[first.header_signature]))]
    answer = post(batches)
    assert answer.status_code == 202, answer.text
    assert answer.json()["link"].startswith(f"{REST[0]}/batch_statuses?id=")
    for rest in REST:
        assert statuses(batches, rest) == ["COMMITTED", "COMMITTED"]
    assert value(REST[0], name) == 42
    for rest in REST[1:]:
        assert value(rest, name) == 42


def test_any_node_takes_batches():
    batches = [batch(transaction("set", fresh_name(), 1)) for _ in REST]
    for rest, each in zip(REST, batches):
        assert post([each], rest).status_code == 202
        assert statuses([each], rest) == ["COMMITTED"]


def test_a_batch_is_all_or_nothing():
    name = fresh_name()
    bad = batch(transaction("set", name, 1), transaction("dec", name, 2))
    assert post([bad]).status_code == 202
    assert statuses([bad]) == ["INVALID"]
    status = read(REST[0], f"/batch_statuses?id={bad.header_signature}")["data"][0]
    assert "less than 0" in status["invalid_transactions"][0]["message"]
    assert requests.get(f"{REST[0]}/state/{address('intkey', name)}", timeout=10).json()["error"]["code"] == 75


def test_what_was_tampered_with_is_refused():
    bad = batch(transaction("set", fresh_name(), 1))
    bad.transactions[0].payload = b"other"
    answer = post([bad])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 30)


def test_blocks_batches_transactions_and_receipts_lead_to_each_other():
    sent = batch(transaction("set", fresh_name(), 7))
    post([sent])
    assert statuses([sent]) == ["COMMITTED"]
    transaction_id = sent.transactions[0].header_signature
    found = read(REST[0], f"/batches/{sent.header_signature}")["data"]
    assert found["header"]["signer_public_key"] == SIGNER.get_public_key().as_hex()
    assert read(REST[0], f"/transactions/{transaction_id}")["data"]["header"]["family_name"] == "intkey"
    receipt = read(REST[0], f"/receipts?id={transaction_id}")["data"][0]
    assert receipt["id"] == transaction_id and receipt["state_changes"][0]["type"] == "SET"
    blocks = read(REST[0], "/blocks?limit=1000")["data"]
    holds = [block for block in blocks if sent.header_signature in block["header"]["batch_ids"]]
    assert len(holds) == 1
    block = read(REST[0], f"/blocks/{holds[0]['header_signature']}")["data"]
    inside = [each["header_signature"] for held in block["batches"] for each in held["transactions"]]
    assert transaction_id in inside
    previous = [each["header"]["previous_block_id"] for each in blocks[:-1]]
    assert previous == [each["header_signature"] for each in blocks[1:]]


def test_lists_are_walked_by_their_links():
    batches = [batch(transaction("set", fresh_name(), 1)) for _ in range(5)]
    post(batches)
    statuses(batches)
    page = read(REST[0], "/batches?limit=2")
    seen = [each["header_signature"] for each in page["data"]]
    while "next" in page["paging"] and len(seen) < 1000:
        page = requests.get(page["paging"]["next"], timeout=10).json()
        seen += [each["header_signature"] for each in page["data"]]
    assert len(seen) == len(set(seen)) and set(seen) >= {each.header_signature for each in batches}
