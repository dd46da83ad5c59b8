"""A small ledger and its receipts, written in Python from the format's description alone.

It shares no code with Coco, so the verifiers of ../ccf-python can be shown to accept what is right, and, with something
changed, to refuse what is wrong, before there is a node to check.
"""

import base64
import datetime
import json
import struct
from hashlib import sha256
from pathlib import Path

import cbor2
from ccf.merkletree import MerkleTree
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

K0 = bytes(8)
NODE = "0a" * 32
VIEW = 2


class SampleLedger:
    """Service and node start at seqno 1; then batches, each some transactions and a signature."""

    def __init__(self):
        self.service_key, self.node_key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
        self.service_certificate = certificate("service", self.service_key, "service", self.service_key)
        self.node_certificate = certificate("node", self.node_key, "service", self.service_key)
        self.tree = MerkleTree()
        self.tree.add_leaf(bytes(32), do_hash=False)
        self.entries, self.parts, self.signatures = [], {}, {}
        service = {"status": "Open", "cert": self.service_certificate.decode()}
        self.write({
            "public:ccf.gov.nodes.endorsed_certificates": {NODE.encode(): self.node_certificate},
            "public:ccf.gov.nodes.info": {NODE.encode(): to_json({"status": "Trusted"})},
            "public:ccf.gov.service.info": {K0: to_json(service)},
        })
        self.sign()

    @property
    def seqno(self) -> int:
        return len(self.entries)

    def write(self, tables: dict, claims: bytes = bytes(32)) -> int:
        seqno = self.seqno + 1
        evidence = f"ce:{VIEW}.{seqno}:{sha256(b'nonce %d' % seqno).hexdigest()}"
        evidence_digest = sha256(evidence.encode()).digest()
        entry = encode_entry(seqno, claims, evidence_digest, tables)
        self.entries.append(entry)
        self.parts[seqno] = [sha256(entry).digest(), evidence, claims]
        self.tree.add_leaf(sha256(sha256(entry).digest() + evidence_digest + claims).digest(), do_hash=False)
        return seqno

    def sign(self, node: str = NODE) -> int:
        root, seqno = self.tree.get_merkle_root(), self.seqno + 1
        protected, signature = self.cose_signature(root, seqno)
        row = {
            "node": node, "seqno": seqno, "view": VIEW, "root": root.hex(), "cert": self.node_certificate.decode(),
            "sig": base64.b64encode(self.node_key.sign(root, ec.ECDSA(utils.Prehashed(hashes.SHA256())))).decode(),
            "commit_seqno": 0, "commit_view": 0, "hashed_nonce": bytes(32).hex(),
        }
        cose = base64.b64encode(cbor2.dumps(cbor2.CBORTag(18, [protected, {}, None, signature]))).decode()
        self.write({
            "public:ccf.internal.cose_signatures": {K0: to_json(cose)},
            "public:ccf.internal.signatures": {K0: to_json(row)},
        })
        self.signatures[seqno] = (protected, signature)
        return seqno

    def cose_signature(self, root: bytes, seqno: int) -> tuple[bytes, bytes]:
        spki = self.service_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        protected = cbor2.dumps({
            1: -35, 4: sha256(spki).hexdigest().encode(), 15: {1: "sample", 2: "ledger", 6: 1_700_000_000}, 395: 2,
            "ccf.v1": {"txid": f"{VIEW}.{seqno}"},
        })
        signed = cbor2.dumps(["Signature1", protected, b"", root])
        r, s = utils.decode_dss_signature(self.service_key.sign(signed, ec.ECDSA(hashes.SHA384())))
        return protected, r.to_bytes(48, "big") + s.to_bytes(48, "big")

    def receipt(self, seqno: int, signature_seqno: int) -> bytes:
        """The COSE receipt of `seqno` under the signature at `signature_seqno`, which must be the last one."""
        protected, signature = self.signatures[signature_seqno]
        proof = cbor2.dumps({1: self.parts[seqno], 2: path(self.tree.leaves[:signature_seqno], seqno)})
        return cbor2.dumps(cbor2.CBORTag(18, [protected, {396: {-1: [proof]}}, None, signature]))

    def save(self, folder: Path, cut: int):
        """Two chunks: a committed one to seqno `cut`, and an open one with the rest."""
        folder.mkdir()
        body, positions = b"", []
        for entry in self.entries[:cut]:
            positions.append(8 + len(body))
            body += entry
        table = b"".join(struct.pack("<I", position) for position in positions)
        (folder / f"ledger_1-{cut}.committed").write_bytes(struct.pack("<Q", 8 + len(body)) + body + table)
        (folder / f"ledger_{cut + 1}").write_bytes(struct.pack("<Q", 0) + b"".join(self.entries[cut:]))


def sample() -> SampleLedger:
    """Seqno 1 and 2 found the service, 3 to 5 write, 6 signs, 7 and 8 write, 9 signs."""
    ledger = SampleLedger()
    for _ in range(3):
        ledger.write({"public:sample": {b"key": b"value"}}, sha256(b"claim").digest())
    ledger.sign()
    for _ in range(2):
        ledger.write({"public:sample": {b"key": b"other"}})
    ledger.sign()
    return ledger


def encode_entry(seqno: int, claims: bytes, evidence_digest: bytes, tables: dict) -> bytes:
    domain = b"\x04" + struct.pack("<q", seqno) + claims + evidence_digest + struct.pack("<q", 0)
    for name, rows in sorted(tables.items()):
        domain += counted(name.encode()) + struct.pack("<qQQ", 0, 0, len(rows))
        domain += b"".join(counted(key) + counted(value) for key, value in sorted(rows.items())) + struct.pack("<Q", 0)
    gcm = bytes(16) + struct.pack("<QI", seqno, VIEW)
    body = gcm + struct.pack("<Q", len(domain)) + domain + b"sealed"
    return b"\x01\x00" + len(body).to_bytes(6, "little") + body


def counted(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def to_json(value) -> bytes:
    return json.dumps(value).encode()


def path(leaves: list[bytes], index: int) -> list:
    """The siblings from leaf `index` to the root; an odd last node moves up unchanged."""
    siblings = []
    while len(leaves) > 1:
        sibling = index ^ 1
        if sibling < len(leaves):
            siblings.append([sibling < index, leaves[sibling]])
        pairs = [leaves[i:i + 2] for i in range(0, len(leaves), 2)]
        leaves = [sha256(b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
        index //= 2
    return siblings


def certificate(subject: str, key, issuer: str, issuer_key) -> bytes:
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(issuer_key, hashes.SHA384())
    )
    return built.public_bytes(Encoding.PEM)
