"""The network under test, and batches as the SDK's users make them."""

import hashlib
import json
import os
import secrets
import time

import older_asyncio  # noqa: F401  first

import cbor
import requests
from sawtooth_sdk.protobuf.batch_pb2 import Batch, BatchHeader, BatchList
from sawtooth_sdk.protobuf.transaction_pb2 import Transaction, TransactionHeader
from sawtooth_signing import CryptoFactory, create_context

READY = json.loads(os.environ.get("COCO_READY", "{}"))
NODES = READY.get("nodes") or [{"sawtooth": "tcp://127.0.0.1:4004", "sawtooth_rest": "http://127.0.0.1:8008"}]
COMPONENTS = [node["sawtooth"] for node in NODES if "sawtooth" in node]
REST = [node["sawtooth_rest"] for node in NODES if "sawtooth_rest" in node]
WAIT_S = 30

CONTEXT = create_context("secp256k1")
SIGNER = CryptoFactory(CONTEXT).new_signer(CONTEXT.new_random_private_key())


def fresh_name():
    return secrets.token_hex(8)


def sha512(data):
    return hashlib.sha512(data).hexdigest()


def address(family, name):
    """As the integer key family makes them."""
    return sha512(family.encode())[:6] + sha512(name.encode())[-64:]


def transaction(verb, name, value, family="intkey", dependencies=()):
    payload = cbor.dumps({"Verb": verb, "Name": name, "Value": value}, sort_keys=True)
    places = [address(family, name)]
    key = SIGNER.get_public_key().as_hex()
    header = TransactionHeader(
        signer_public_key=key,
        batcher_public_key=key,
        family_name=family,
        family_version="1.0",
        inputs=places,
        outputs=places,
        dependencies=list(dependencies),
        payload_sha512=sha512(payload),
        nonce=secrets.token_hex(8),
    ).SerializeToString()
    return Transaction(header=header, header_signature=SIGNER.sign(header), payload=payload)


def batch(*transactions):
    ids = [each.header_signature for each in transactions]
    header = BatchHeader(signer_public_key=SIGNER.get_public_key().as_hex(), transaction_ids=ids).SerializeToString()
    return Batch(header=header, header_signature=SIGNER.sign(header), transactions=transactions)


def post(batches, rest=REST[0] if REST else None):
    body = BatchList(batches=batches).SerializeToString()
    return requests.post(f"{rest}/batches", body, headers={"Content-Type": "application/octet-stream"}, timeout=WAIT_S)


def statuses(batches, rest=REST[0] if REST else None):
    """Each batch's status once it is decided."""
    ids = [each.header_signature for each in batches]
    answer = requests.post(f"{rest}/batch_statuses?wait={WAIT_S}", json=ids, timeout=WAIT_S + 10)
    assert answer.status_code == 200, answer.text
    return [each["status"] for each in answer.json()["data"]]


def read(rest, path):
    answer = requests.get(f"{rest}{path}", timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def read_soon(rest, path):
    """The same of what another node has, and this one is about to have."""
    deadline = time.monotonic() + WAIT_S
    while requests.get(f"{rest}{path}", timeout=WAIT_S).status_code == 404 and time.monotonic() < deadline:
        time.sleep(0.05)
    return read(rest, path)
