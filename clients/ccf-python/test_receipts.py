"""While the network runs: receipts fetched over TLS and verified with the package `ccf`, trusting one certificate only."""

from hashlib import sha256
from pathlib import Path

import ccf.receipt
import cbor2
import pytest
import requests
from cryptography.x509 import load_pem_x509_certificate
from running import READY, nodes_with
from verify_receipt import verify

# How far back from the newest committed transaction to look for ones that are no signatures.
LOOK_BACK = 40


@pytest.fixture(scope="module")
def service_certificate() -> bytes:
    nodes_with("api")
    return Path(READY["service_certificate"]).read_bytes()


@pytest.fixture(scope="module")
def receipts() -> dict[str, bytes]:
    """COSE receipts of recent transactions, by TxId. Signature transactions have none."""
    found = {}
    for txid in recent(nodes_with("api")[0]):
        answer = fetch(nodes_with("api")[0], txid, "application/cose")
        if answer.status_code == 200:
            found[txid] = answer.content
        else:
            assert answer.status_code == 404, answer.text
    assert found, "no transaction had a receipt"
    return found


def test_receipts_verify_under_the_service_certificate(receipts, service_certificate):
    for txid, receipt in receipts.items():
        verified = verify(receipt, service_certificate)
        assert verified["evidence"].startswith(f"ce:{txid}:")
        view, seqno = map(int, txid.split("."))
        signed_view, signed_seqno = map(int, verified["signed_at"].split("."))
        assert signed_seqno > seqno and signed_view >= view


def test_a_receipt_with_other_claims_is_refused(receipts, service_certificate):
    for receipt in receipts.values():
        with pytest.raises(ValueError, match="Claim digest mismatch"):
            verify(receipt, service_certificate, b"\x5e" * 32)


def test_a_receipt_changed_in_any_part_is_refused(receipts, service_certificate):
    receipt = next(iter(receipts.values()))
    protected, unprotected, payload, signature = cbor2.loads(receipt).value
    proof = unprotected[396][-1][0]
    variants = [
        [flipped(protected), unprotected, payload, signature],
        [protected, {396: {-1: [flipped(proof)]}}, payload, signature],
        [protected, unprotected, payload, flipped(signature)],
    ]
    for variant in variants:
        with pytest.raises(Exception):
            verify(cbor2.dumps(cbor2.CBORTag(18, variant)), service_certificate)


def test_every_node_gives_the_same_receipt(receipts, service_certificate):
    txid = next(iter(receipts))
    for node in nodes_with("api"):
        answer = fetch(node, txid, "application/cose")
        assert answer.status_code == 200, answer.text
        assert verify(answer.content, service_certificate)["evidence"] == verify(receipts[txid], service_certificate)["evidence"]


def test_json_receipts_verify_as_well(receipts, service_certificate):
    service = load_pem_x509_certificate(service_certificate)
    for txid, cose in receipts.items():
        answer = fetch(nodes_with("api")[0], txid, "application/json")
        assert answer.status_code == 200, answer.text
        receipt = answer.json()
        leaf = receipt["leaf_components"]
        assert leaf["commit_evidence"].startswith(f"ce:{txid}:")
        root = ccf.receipt.root(leaf_digest(leaf), receipt["proof"])
        node = load_pem_x509_certificate(receipt["cert"].encode())
        ccf.receipt.verify(root, receipt["signature"], node)
        ccf.receipt.check_endorsements(node, service, [])
        assert bytes.fromhex(leaf["claims_digest"]) == verify(cose, service_certificate)["claims"]


def test_a_transaction_nobody_knows_has_no_receipt():
    view, seqno = newest(nodes_with("api")[0])
    answer = fetch(nodes_with("api")[0], f"{view}.{seqno + 1_000_000}", "application/json")
    assert answer.status_code in (202, 404), answer.text


# ---- steps


def get(node: dict, path: str, **arguments) -> requests.Response:
    return requests.get(node["api"] + path, verify=READY["service_certificate"], timeout=15, **arguments)


def newest(node: dict) -> tuple[int, int]:
    """The newest committed transaction: view and seqno."""
    answer = get(node, "/node/commit")
    answer.raise_for_status()
    view, seqno = answer.json()["transaction_id"].split(".")
    return int(view), int(seqno)


def recent(node: dict) -> list[str]:
    view, seqno = newest(node)
    return [f"{view}.{each}" for each in range(seqno, max(0, seqno - LOOK_BACK), -1)]


def fetch(node: dict, txid: str, form: str) -> requests.Response:
    return get(node, "/node/receipt", params={"transaction_id": txid}, headers={"accept": form})


def leaf_digest(leaf: dict) -> str:
    evidence = sha256(leaf["commit_evidence"].encode()).digest()
    return sha256(bytes.fromhex(leaf["write_set_digest"]) + evidence + bytes.fromhex(leaf["claims_digest"])).hexdigest()


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])
