"""The verifiers of ../ccf-python accept a right ledger and its receipts, and refuse wrong ones."""

import sys
from hashlib import sha256
from pathlib import Path

import cbor2
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "ccf-python"))

import verify_ledger  # noqa: E402
import verify_receipt  # noqa: E402
from sample_ledger import NODE, sample  # noqa: E402

CLAIMS = sha256(b"claim").digest()


def test_a_right_ledger_is_verified_to_its_tip(tmp_path, capsys):
    sample().save(tmp_path / "ledger", cut=6)
    assert verify_ledger.main([str(tmp_path / "ledger")]) == 0
    assert "9 transactions to 2.9, 3 signatures, all verified" in capsys.readouterr().out


def test_equal_ledgers_agree_and_others_do_not(tmp_path):
    ledger = sample()
    for name in ("a", "b"):
        ledger.save(tmp_path / name, cut=6)
    sample().save(tmp_path / "other", cut=6)
    assert verify_ledger.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert verify_ledger.main([str(tmp_path / "a"), str(tmp_path / "other")]) == 1


@pytest.mark.parametrize("seqno", range(1, 10))
def test_a_ledger_with_one_bit_changed_is_refused(tmp_path, seqno):
    ledger = sample()
    entry = bytearray(ledger.entries[seqno - 1])
    entry[-1] ^= 1
    ledger.entries[seqno - 1] = bytes(entry)
    ledger.save(tmp_path / "ledger", cut=6)
    # Nothing signs the last signature transaction itself: its sealed part is beyond any verifier.
    assert verify_ledger.main([str(tmp_path / "ledger")]) == (0 if seqno == 9 else 1)


def test_a_ledger_with_an_entry_missing_or_unsigned_or_cut_is_refused(tmp_path):
    for name, change in {
        "missing": lambda ledger: ledger.entries.pop(3),
        "unsigned": lambda ledger: ledger.write({"public:sample": {b"key": b"late"}}),
        "cut": lambda ledger: ledger.entries.append(ledger.entries.pop()[:-3]),
        "swapped": lambda ledger: ledger.entries.insert(3, ledger.entries.pop(4)),
        "unknown node": lambda ledger: ledger.sign(node=NODE.replace("0a", "0b")),
    }.items():
        ledger = sample()
        change(ledger)
        ledger.save(tmp_path / name, cut=6)
        assert verify_ledger.main([str(tmp_path / name)]) == 1, name


def test_a_ledger_signed_by_another_service_key_is_refused(tmp_path):
    ledger, other = sample(), sample()
    ledger.service_key = other.service_key
    ledger.sign()
    ledger.save(tmp_path / "ledger", cut=6)
    assert verify_ledger.main([str(tmp_path / "ledger")]) == 1


def test_right_receipts_are_verified(tmp_path, capsys):
    ledger = sample()
    files = tmp_path / "receipt.cose", tmp_path / "service.pem"
    files[1].write_bytes(ledger.service_certificate)
    for seqno in (1, 3, 4, 5, 7, 8):
        files[0].write_bytes(ledger.receipt(seqno, 9))
        assert verify_receipt.main([str(files[0]), str(files[1])]) == 0
        assert f"verified: ce:2.{seqno}:" in capsys.readouterr().out
    files[0].write_bytes(ledger.receipt(4, 6))
    assert verify_receipt.main([str(files[0]), str(files[1]), CLAIMS.hex()]) == 0
    assert verify_receipt.main([str(files[0]), str(files[1]), bytes(32).hex()]) == 1


def test_a_receipt_with_any_bit_changed_is_refused(tmp_path):
    ledger = sample()
    protected, unprotected, _, signature = cbor2.loads(ledger.receipt(4, 6)).value
    proof = unprotected[396][-1][0]
    variants = [[changed, unprotected, None, signature] for changed in with_one_bit_changed(protected)]
    variants += [[protected, {396: {-1: [changed]}}, None, signature] for changed in with_one_bit_changed(proof)]
    variants += [[protected, unprotected, None, changed] for changed in with_one_bit_changed(signature)]
    for variant in variants:
        with pytest.raises(Exception):
            verify_receipt.verify(cbor2.dumps(cbor2.CBORTag(18, variant)), ledger.service_certificate, CLAIMS)


def test_a_receipt_under_another_service_certificate_is_refused():
    ledger = sample()
    with pytest.raises(AssertionError):
        verify_receipt.verify(ledger.receipt(4, 6), sample().service_certificate, CLAIMS)


def with_one_bit_changed(data: bytes):
    """One bit of each byte, a different one each time."""
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1 << (i % 8)
        yield bytes(changed)
