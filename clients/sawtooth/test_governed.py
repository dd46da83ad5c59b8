"""What a network's members decide about Sawtooth, voted with the tools of the package `ccf`: contracts of Sabre, built with its published SDK,
and a processor that proves by evidence what it is."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from network import NODES, READY, REST, SIGNER, batch, fresh_name, post, read, read_soon, sha512, statuses, transaction
from sawtooth_sdk.protobuf.transaction_pb2 import Transaction, TransactionHeader

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "ccf-python"))
from governance import Member, Node  # noqa: E402

YES = "export function vote(proposal, proposerId) { return true }"
COCO = Path(os.environ.get("COCO_PROGRAM", HERE.parent.parent / "target" / "release" / "coco"))
TARGET = Path(os.environ.get("COCO_SABRE_TARGET", HERE.parent / "build" / "sawtooth-sabre"))
WASM = "wasm32-unknown-unknown"
BUILD_S = 180
KEY = SIGNER.get_public_key().as_hex()


@pytest.fixture(scope="module")
def decide():
    """Carries a proposal of these actions."""
    if "state" not in READY or not all("api" in node for node in NODES):
        pytest.skip("the network states no folder with its members' keys")
    node = Node(NODES[0]["api"], READY["service_certificate"])
    members = [Member(Path(READY["state"]), index) for index in range(3)]
    for member in members:
        if node.get_json(f"service/members/{member.id}")["status"] != "Active":
            member.activate(node)

    def carry(*actions):
        proposed = members[0].propose(node, [{"name": name, "args": args} for name, args in actions])
        for member in members:
            if proposed["proposalState"] == "Open":
                proposed = member.vote(node, proposed["proposalId"], YES)
        assert proposed["proposalState"] == "Accepted", proposed

    return carry


def field(number, value):
    """One field of a protobuf message: bytes, text, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def sabre(action, *fields):
    """A transaction of Sabre. Each action's part has the number after the action's own."""
    payload = field(1, action) + field(action + 1, b"".join(field(*each) for each in fields))
    places = ["00ec00", "00ec01", "00ec02", "000000", SPACE]
    header = TransactionHeader(
        signer_public_key=KEY, batcher_public_key=KEY, family_name="sabre", family_version="0.5", inputs=places,
        outputs=places, payload_sha512=sha512(payload), nonce=fresh_name(),
    ).SerializeToString()
    return Transaction(header=header, header_signature=SIGNER.sign(header), payload=payload)


CREATE_CONTRACT, EXECUTE_CONTRACT, CREATE_REGISTRY, CREATE_NAMESPACE, PERMIT = 1, 3, 4, 7, 10
# A namespace of this run's own, and a place in it.
SPACE = fresh_name()[:6]
PLACE = SPACE + fresh_name() * 4


@pytest.fixture(scope="module")
def contract():
    if shutil.which("cargo") is None or shutil.which("protoc") is None:
        pytest.skip("cargo or protoc is missing")
    targets = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True, cwd=HERE)
    if not (Path(targets.stdout.strip()) / "lib" / "rustlib" / WASM / "lib").exists():
        pytest.skip(f"Rust's target {WASM} is not installed (rustup target add {WASM})")
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target", WASM, "--target-dir", str(TARGET)]
    try:
        built = subprocess.run(command, cwd=HERE / "sabre", timeout=BUILD_S, check=False, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        pytest.skip(f"not built in {BUILD_S} s: another run goes on from there")
    if built.returncode != 0:
        pytest.skip(f"Sabre's published SDK does not build here: {built.stderr.strip().splitlines()[-1]}")
    return (TARGET / WASM / "release" / "counter_contract.wasm").read_bytes()


def end(*transactions):
    one = batch(*transactions)
    answer = post([one])
    assert answer.status_code == 202, answer.text
    return statuses([one])[0]


def execute(name, payload):
    return sabre(EXECUTE_CONTRACT, (1, name), (2, "1.0"), (3, SPACE), (4, SPACE), (5, payload))


def test_a_contract_of_the_published_sdk_runs_in_the_node(decide, contract):
    name = fresh_name()
    decide(("set_ledger_setting", {"ledger": "sawtooth", "key": "sawtooth.swa.administrators", "value": KEY}))
    # What members decide stands in the state after the next block.
    assert end(transaction("set", fresh_name(), 1)) == "COMMITTED"
    prepare = [
        sabre(CREATE_NAMESPACE, (1, SPACE), (2, KEY)),
        sabre(CREATE_REGISTRY, (1, name), (2, KEY)),
        sabre(CREATE_CONTRACT, (1, name), (2, "1.0"), (3, SPACE), (4, SPACE), (5, contract)),
    ]
    assert end(*prepare) == "COMMITTED"
    assert end(execute(name, f"{PLACE},40")) == "INVALID", "it has no permission yet"
    assert end(sabre(PERMIT, (1, SPACE), (2, name), (3, 1), (4, 1))) == "COMMITTED"
    assert end(execute(name, f"{PLACE},40"), execute(name, f"{PLACE},2")) == "COMMITTED"
    for rest in REST:
        assert read_soon(rest, f"/state/{PLACE}")["data"] == "NDI=", "42, on every node"
    assert end(execute(name, f"{PLACE},2000")) == "INVALID"
    assert end(execute(name, f"{'00ec01' + PLACE[6:]},1")) == "INVALID", "not in its namespace"


def test_a_new_epoch_of_the_ledger_has_a_new_key_for_blocks(decide):
    def signers():
        assert end(transaction("set", fresh_name(), 1)) == "COMMITTED"
        head = read(REST[0], "/blocks?limit=1")["data"][0]["header_signature"]
        return {read_soon(rest, f"/blocks/{head}")["data"]["header"]["signer_public_key"] for rest in REST}

    first = signers()
    decide(("trigger_ledger_rekey", {}))
    second = signers()
    assert len(first) == len(second) == 1 and first != second
    assert signers() == second


@pytest.fixture
def running():
    processes = []
    yield lambda *command: processes.append(subprocess.Popen([str(part) for part in command])) or processes[-1]
    for process in processes:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_processor_that_proves_its_code_executes_an_attested_family(decide, running):
    if not COCO.exists() or not all("sawtooth_attested" in node for node in NODES):
        pytest.skip("the network takes no evidence of processors (coco dev --sawtooth-attested-port), or there is no program at COCO_PROGRAM")
    family = f"attested{fresh_name()}"
    namespace = sha512(family.encode())[:6]
    measurement = hashlib.sha256(COCO.read_bytes()).hexdigest()
    row = {"ledger": "sawtooth", "family": family, "version": "1.0", "tier": "attested", "namespaces": [namespace]}
    decide(("set_ledger_family", {**row, "code": {"virtual_tee": {"measurements": [measurement]}}}))
    port = free_port()
    # Of the last node: a backup carries it on to the primary.
    nodes = [part for node in reversed(NODES) for part in ("--node", node["sawtooth_attested"])]
    running(COCO, "sawtooth", "attest-proxy", *nodes, "--service", READY["service_certificate"], "--listen", f"127.0.0.1:{port}")
    running(sys.executable, "-W", "ignore", HERE / "processor.py", f"tcp://127.0.0.1:{port}", family)
    assert end(transaction("set", "x", 7, family=family)) == "COMMITTED"
    assert end(transaction("stray", "x", 7, family=family)) == "INVALID", "it writes elsewhere"
