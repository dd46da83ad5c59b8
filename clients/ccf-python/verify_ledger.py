"""verify_ledger.py DIR…

Verifies ledger folders, each of one node, with the PyPI package `ccf`, which knows nothing of Coco: every entry parses,
every signature transaction's node signature and COSE signature are over the root of all before it, and the ledger ends
with one. Folders of one network must also agree: the same transactions as far as both reach.

The nodes must have stopped: an entry half written is an error here.
"""

import sys
from dataclasses import dataclass

import ccf.ledger

SIGNATURES = ccf.ledger.SIGNATURE_TX_TABLE_NAME
COSE_SIGNATURES = ccf.ledger.COSE_SIGNATURE_TX_TABLE_NAME


class LedgerError(Exception):
    pass


@dataclass
class Verified:
    leaves: list[bytes]
    last: str
    signatures: int

    def __str__(self):
        return f"{len(self.leaves)} transactions to {self.last}, {self.signatures} signatures, all verified"


def verify(folder: str) -> Verified:
    """Verifies the ledger in `folder` from its first transaction to its last; raises when anything is wrong."""
    validator = new_validator()
    last_signature = None
    cose_signatures = 0
    previous, txid, seqno = (0, 0), None, 0
    for transaction in ccf.ledger.Ledger([folder], committed_only=False).transactions():
        seqno += 1
        domain = transaction.get_public_domain()
        if domain.get_seqno() != seqno or transaction.gcm_header.seqno != seqno:
            raise LedgerError(f"entry {seqno} calls itself {domain.get_seqno()} and is sealed as {transaction.get_txid()}")
        if (transaction.gcm_header.view, seqno) < previous:
            raise LedgerError(f"the view falls at {transaction.get_txid()}")
        previous, txid = (transaction.gcm_header.view, seqno), transaction.get_txid()
        validator.add_transaction(transaction)
        tables = domain.get_tables()
        if SIGNATURES in tables:
            last_signature = txid
            cose_signatures += COSE_SIGNATURES in tables

    if validator.signature_count == 0:
        raise LedgerError("no signature was verified")
    if str(validator.last_verified_txid()) != last_signature:
        raise LedgerError(f"verified to {validator.last_verified_txid()}, but the last signature is {last_signature}")
    if last_signature != txid:
        raise LedgerError(f"signed to {last_signature}, but the last transaction is {txid}")
    if cose_signatures != validator.signature_count:
        raise LedgerError(f"{validator.signature_count} node signatures, but {cose_signatures} COSE signatures")
    # The package keeps 32 zero bytes before the first transaction.
    return Verified(validator.merkle.leaves[1:], txid, validator.signature_count)


def new_validator() -> ccf.ledger.LedgerValidator:
    """The package keeps what it knows of nodes in its class, so a second ledger would be checked against the first."""
    validator = ccf.ledger.LedgerValidator(accept_deprecated_entry_types=False)
    validator.node_certificates = {}
    validator.node_activity_status = {}
    return validator


def verify_all(folders: list[str]) -> list[Verified]:
    ledgers = [verify(folder) for folder in folders]
    for folder, ledger in zip(folders, ledgers):
        for seqno, (ours, theirs) in enumerate(zip(ledgers[0].leaves, ledger.leaves), start=1):
            if ours != theirs:
                raise LedgerError(f"{folder} and {folders[0]} differ at seqno {seqno}")
    return ledgers


def main(folders: list[str]) -> int:
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        ledgers = verify_all(folders)
    except Exception as error:  # Whatever a damaged ledger makes the library raise, it is not verified.
        print(f"not verified: {type(error).__name__}: {error}")
        return 1
    for folder, ledger in zip(folders, ledgers):
        print(f"{folder}: {ledger}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
