"""Sawtooth's Rust crates as they are published: transaction handlers, SDK, client. `rust/` pins them; the first run builds them."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from network import COMPONENTS, REST, fresh_name

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("COCO_SAWTOOTH_RUST_TARGET", HERE.parent / "build" / "sawtooth-rust"))
BUILD_S = 180
REGISTERED_S = 60


def missing():
    tools = [tool for tool in ("cargo", "pkg-config", "protoc") if shutil.which(tool) is None]
    if tools:
        return f"{' and '.join(tools)} missing"
    found = subprocess.run(["pkg-config", "--exists", "libzmq", "openssl"], check=False).returncode == 0
    return None if found else "the libraries libzmq and OpenSSL are missing (Debian: libzmq3-dev, libssl-dev)"


pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture(scope="module")
def programs():
    command = ["cargo", "build", "--locked", "--quiet", "--target-dir", str(TARGET)]
    try:
        built = subprocess.run(command, cwd=HERE / "rust", timeout=BUILD_S, check=False, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        pytest.skip(f"not built in {BUILD_S} s: another run goes on from there")
    if built.returncode != 0:
        pytest.skip(f"the published crates do not build here: {built.stderr.strip().splitlines()[-1]}")
    return TARGET / "debug"


class Processor:
    """The published processor of a family beside one node. It says which transactions it was asked to apply."""

    def __init__(self, programs, family, url):
        self.applied = set()
        self.process = subprocess.Popen([programs / "processor", family, url], stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.applied.add(line.strip())

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()


@pytest.fixture
def processors(programs, request):
    """One of a family beside each node; several of them share the work, and all have some before the test begins."""
    running = [Processor(programs, request.param, url) for url in COMPONENTS]
    deadline = time.monotonic() + REGISTERED_S
    while not all(processor.applied for processor in running):
        assert time.monotonic() < deadline, "a processor was given no work"
        client(programs, COMPONENTS[0], request.param, fresh_name())
    yield running
    for processor in running:
        processor.end()


def executed_by(processors, lines):
    """How many of a client's transactions these processors were asked to apply."""
    (ids,) = [line.split()[1:] for line in lines if line.startswith("transactions ")]
    return len(set(ids) & set().union(*(processor.applied for processor in processors)))


def client(programs, *arguments):
    done = subprocess.run([programs / "client", *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("processors", ["intkey"], indirect=True)
@pytest.mark.parametrize("node", range(len(COMPONENTS)))
def test_the_published_intkey_processor_serves_the_published_sdks_client(programs, processors, node):
    name = fresh_name()
    lines = client(programs, COMPONENTS[node], "intkey", name, "40")
    assert lines[:-3] == ["submitted OK"] + ["COMMITTED"] * 41
    # CBOR: one entry, the name, 41.
    assert lines[-1] == f"bytes {[0xa1, 0x60 + len(name), *name.encode(), 0x18, 41]}"
    # The node's own family would come to the same end. Processors of other checks may have had a part in it.
    assert executed_by(processors, lines) > 0


@pytest.mark.parametrize("processors", ["xo"], indirect=True)
def test_the_published_xo_processor_referees_a_game(programs, processors):
    name = fresh_name()
    lines = client(programs, COMPONENTS[-1], "xo", name)
    assert lines[:-3] == ["submitted OK"] + ["COMMITTED"] * 6
    assert lines[-2].startswith(f"state {name},XXXOO----,P1-WIN,")
    assert executed_by(processors, lines) == 6


def test_the_published_clients_batches_are_those_that_native_families_take(programs):
    """Without a processor the node executes both families itself, to the same end."""
    name = fresh_name()
    assert client(programs, COMPONENTS[0], "xo", name)[-2].startswith(f"state {name},XXXOO----,P1-WIN,")
    assert client(programs, COMPONENTS[0], "intkey", name, "3")[-1].endswith(" 4]")
    assert len(REST) == len(COMPONENTS)
