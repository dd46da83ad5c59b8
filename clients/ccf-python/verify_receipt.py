"""verify_receipt.py RECEIPT SERVICE_CERT [CLAIMS_DIGEST]

Verifies a COSE receipt offline with the PyPI package `ccf`, which knows nothing of Coco: the proof folds to a root that
the key of the service certificate signed. RECEIPT is the file of a COSE receipt, SERVICE_CERT a PEM file, CLAIMS_DIGEST
64 hex digits that the leaf must hold; without it the leaf's own digest is taken and printed.
"""

import sys
from pathlib import Path

import cbor2
import ccf.cose
from cryptography.x509 import load_pem_x509_certificate

PROOFS, INCLUSION, LEAF = 396, -1, 1


def verify(receipt: bytes, service_certificate: bytes, claims_digest: bytes | None = None) -> dict:
    """The protected header and the first leaf of `receipt`; raises when it does not verify."""
    key = load_pem_x509_certificate(service_certificate).public_key()
    leaf = first_leaf(receipt)
    protected = ccf.cose.verify_receipt(receipt, key, leaf[2] if claims_digest is None else claims_digest)
    return {"signed_at": protected["ccf.v1"]["txid"], "write_set": leaf[0], "evidence": leaf[1], "claims": leaf[2]}


def first_leaf(receipt: bytes) -> list:
    _, unprotected, _, _ = cbor2.loads(receipt).value
    return cbor2.loads(unprotected[PROOFS][INCLUSION][0])[LEAF]


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    claims_digest = bytes.fromhex(arguments[2]) if len(arguments) == 3 else None
    try:
        verified = verify(Path(arguments[0]).read_bytes(), Path(arguments[1]).read_bytes(), claims_digest)
    except Exception as error:  # Whatever a hostile receipt makes the libraries raise, it is not verified.
        print(f"not verified: {type(error).__name__}: {error}")
        return 1
    print(f"verified: {verified['evidence']}, signed at {verified['signed_at']}, claims {verified['claims'].hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
