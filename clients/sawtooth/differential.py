"""The same batches to an original Sawtooth 1.2 network and to Coco: the same state roots, statuses and receipts?

    python sawtooth/differential.py --original http://127.0.0.1:8008 --coco http://127.0.0.1:18008 [--seed 1]

Both must begin with the same state, which is checked: a fresh `coco dev` does after the settings that the original's genesis made have been
proposed to it with `sawset`. The original needs processors for intkey and xo. What is sent: random integer keys, right and wrong ones, several
transactions in a batch, and two games. Block boundaries may differ, so roots are compared after each step, when all is decided.
"""

import argparse
import os
import random
import secrets
import time

os.environ.setdefault("COCO_READY", "{}")

import older_asyncio  # noqa: E402, F401  first
import cbor  # noqa: E402
import requests  # noqa: E402
from network import CONTEXT, SIGNER, CryptoFactory, address, batch, fresh_name, post, sha512  # noqa: E402
from sawtooth_sdk.protobuf.transaction_pb2 import Transaction, TransactionHeader  # noqa: E402

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--original", required=True, help="its REST API")
PARSER.add_argument("--coco", required=True, help="a node's REST API")
PARSER.add_argument("--seed", type=int, default=1)
PARSER.add_argument("--steps", type=int, default=6, help="of random integer keys")
OPTIONS = PARSER.parse_args()
BOTH = (OPTIONS.original, OPTIONS.coco)
WAIT_S = 60
OTHER = CryptoFactory(CONTEXT).new_signer(CONTEXT.new_random_private_key())


def transaction(family, payload, place, signer=SIGNER):
    header = TransactionHeader(
        signer_public_key=signer.get_public_key().as_hex(),
        batcher_public_key=SIGNER.get_public_key().as_hex(),
        family_name=family,
        family_version="1.0",
        inputs=[place],
        outputs=[place],
        payload_sha512=sha512(payload),
        nonce=secrets.token_hex(8),
    ).SerializeToString()
    return Transaction(header=header, header_signature=signer.sign(header), payload=payload)


def intkey(verb, name, value):
    payload = cbor.dumps({"Verb": verb, "Name": name, "Value": value}, sort_keys=True)
    return transaction("intkey", payload, address("intkey", name))


def xo(text, signer=SIGNER):
    place = sha512(b"xo")[:6] + sha512(text.split(",")[0].encode())[:64]
    return transaction("xo", text.encode(), place, signer)


def random_batch(names):
    known, fresh = random.choice(names), fresh_name()
    kinds = [
        (50, lambda: [intkey(random.choice(["inc", "dec"]), known, random.randrange(30))]),
        (10, lambda: [intkey("set", known, 1)]),
        (10, lambda: [intkey("inc", fresh, 1)]),
        (5, lambda: [intkey("inc", known, 4294967295)]),
        (5, lambda: [intkey("mul", known, 2)]),
        (10, lambda: [intkey("set", fresh, 5), intkey("inc", fresh, 2), intkey("dec", fresh, 1)]),
        (5, lambda: [intkey("set", fresh, 5), intkey("dec", fresh, 9)]),
        (5, lambda: [transaction("intkey", b"\xff\x00", address("intkey", known))]),
    ]
    return batch(*random.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]())


def steps():
    names = [fresh_name() for _ in range(12)]
    yield [batch(intkey("set", name, random.randrange(100))) for name in names]
    for _ in range(OPTIONS.steps):
        yield [random_batch(names) for _ in range(25)]
    game, other = fresh_name(), fresh_name()
    yield [batch(xo(f"{game},create,")), batch(xo(f"{other},create,"))]
    for turn, space in enumerate((1, 4, 2, 5, 3)):
        yield [batch(xo(f"{game},take,{space}", OTHER if turn % 2 else SIGNER))]
    wrong = (f"{game},take,9", f"{game},create,", "nope,take,1", "bad|name,create,", f"{fresh_name()},fly,")
    yield [batch(xo(text)) for text in wrong]
    yield [batch(xo(f"{other},take,1"))]
    yield [batch(xo(f"{other},take,1", OTHER))]
    yield [batch(xo(f"{other},delete,"))]


def root(url):
    return requests.get(f"{url}/blocks?limit=1", timeout=WAIT_S).json()["data"][0]["header"]["state_root_hash"]


def decided(url, batches):
    ids = [each.header_signature for each in batches]
    end = time.monotonic() + WAIT_S
    while True:
        data = requests.post(f"{url}/batch_statuses?wait=20", json=ids, timeout=WAIT_S).json()["data"]
        if all(each["status"] in ("COMMITTED", "INVALID") for each in data) or time.monotonic() > end:
            return data
        time.sleep(0.2)


def outcome(status):
    """The original at times names an invalid transaction twice."""
    return status["status"], sorted({each["id"] for each in status["invalid_transactions"]})


def words(status):
    return {each.get("message") for each in status["invalid_transactions"]}


def receipts(url, each):
    ids = ",".join(inside.header_signature for inside in each.transactions)
    return requests.get(f"{url}/receipts?id={ids}", timeout=WAIT_S).json()["data"]


def main():
    random.seed(OPTIONS.seed)
    assert root(BOTH[0]) == root(BOTH[1]), "they do not begin with the same state"
    batches = invalid = alike = roots = 0
    for step in steps():
        # In one order: within a block the original keeps it too, but it may cut a step into several.
        for each in step:
            for url in BOTH:
                answer = post([each], url)
                assert answer.status_code == 202, answer.text
            first, second = (decided(url, [each])[0] for url in BOTH)
            assert outcome(first) == outcome(second), f"status: {first} and {second}"
            if first["status"] == "COMMITTED":
                kept = [receipts(url, each) for url in BOTH]
                assert kept[0] == kept[1], f"receipts: {kept[0]} and {kept[1]}"
            else:
                invalid += 1
                alike += words(first) == words(second)
            batches += 1
        found = [root(url) for url in BOTH]
        assert found[0] == found[1], f"roots: {found[0]} and {found[1]}"
        roots += 1
    print(f"same: {batches} statuses, {batches - invalid} receipts, {roots} roots; {alike} of {invalid} messages")


if __name__ == "__main__":
    main()
