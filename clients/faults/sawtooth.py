"""Kills the primary with SIGKILL under a load that transaction processors execute, and starts it again, several times.

Processors of the Python SDK, and those of Rust if they are built, are connected to every node and stay so. Each node that lives
is handed batches; whoever is refused hands the same batch in at the next node. What must hold:
- every batch that a living node took in is committed, once: sums and numbers come out exactly;
- a batch first handed in after the kill is committed in less than --within seconds;
- all nodes end with the same block and state root.

    python faults/sawtooth.py --ready FILE [--restart COMMAND] [--rounds 3]
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "sawtooth"))

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--ready", required=True, help="the JSON line of a running network")
PARSER.add_argument("--restart", default=f"'{ROOT}/target/release/coco' node start --config {{config}}")
PARSER.add_argument("--rounds", type=int, default=3)
PARSER.add_argument("--seconds", type=float, default=6, help="of load in each round")
PARSER.add_argument("--within", type=float, default=5)
OPTIONS = PARSER.parse_args()
os.environ["COCO_READY"] = Path(OPTIONS.ready).read_text()

import older_asyncio  # noqa: E402, F401  first
import cbor  # noqa: E402
import requests  # noqa: E402
from network import NODES, address, batch, fresh_name, post, read, transaction  # noqa: E402
from processor import FAMILY  # noqa: E402

RUST = Path(os.environ.get("COCO_SAWTOOTH_RUST_TARGET", HERE.parent / "build" / "sawtooth-rust")) / "debug" / "processor"
ALIVE = [True] * len(NODES)


class Worker(threading.Thread):
    """Hands in one batch after the other: each adds one to a name of its own."""

    def __init__(self, family, home):
        super().__init__(daemon=True)
        self.family, self.home, self.name_of = family, home, fresh_name()
        self.taken, self.again, self.ended = [], 0, False

    def run(self):
        verbs = {"intkey": ("set", "inc")}.get(self.family, ("add", "add"))
        while not self.ended:
            verb = verbs[0] if not self.taken else verbs[1]
            # Numbers are set before they are increased, whoever executes them.
            after = [self.taken[0].transactions[0].header_signature] if self.taken else []
            self.hand_in(batch(transaction(verb, self.name_of, 1, self.family, after)))
            time.sleep(0.02)

    def hand_in(self, each):
        node = self.home
        while True:
            if ALIVE[node] and took(node, each):
                # What a node took in and lost by being killed is its client's to hand in again.
                self.taken.append(each)
                return
            self.again += 1
            node = (node + 1) % len(NODES)
            time.sleep(0.02)


def took(node, each):
    try:
        return post([each], NODES[node]["sawtooth_rest"]).status_code == 202
    except requests.RequestException:
        return False


def status_of(node, batches, wait):
    ids = [each.header_signature for each in batches]
    url = f"{NODES[node]['sawtooth_rest']}/batch_statuses?wait={wait}"
    answer = requests.post(url, json=ids, timeout=wait + 10)
    assert answer.status_code == 200, answer.text
    return [each["status"] for each in answer.json()["data"]]


def primary():
    """Index of the primary, as its metrics tell; the first node that lives if none says so."""
    for index, node in enumerate(NODES):
        if ALIVE[index]:
            text = requests.get(f"{node['admin']}/metrics", timeout=5).text
            if any(line == "coco_is_primary 1" for line in text.splitlines()):
                return index
    return ALIVE.index(True)


def one_round(number, processes):
    workers = [Worker(family, home) for home in range(len(NODES)) for family in (FAMILY, "intkey")]
    for worker in workers:
        worker.start()
    time.sleep(OPTIONS.seconds / 2)
    victim = primary()
    ALIVE[victim] = False
    os.kill(processes[victim], signal.SIGKILL)
    killed = time.monotonic()
    survivor = ALIVE.index(True)
    probe = batch(transaction("add", fresh_name(), 1, FAMILY))
    while not took(survivor, probe):
        time.sleep(0.02)
    while (found := status_of(survivor, [probe], 1)) != ["COMMITTED"]:
        assert found != ["INVALID"], read(NODES[survivor]["sawtooth_rest"], f"/batch_statuses?id={probe.header_signature}")
        took(survivor, probe)
        assert time.monotonic() - killed < 60, "no batch is committed any more"
    outage = time.monotonic() - killed
    print(f"round {number}: killed node {victim}; a batch handed in afterwards was committed after {outage:.1f} s")
    assert outage < OPTIONS.within, f"no service for {outage:.1f} s"
    time.sleep(OPTIONS.seconds / 2)
    for worker in workers:
        worker.ended = True
    for worker in workers:
        worker.join()
    settle(workers, survivor)
    restart = OPTIONS.restart.format(config=f"'{NODES[victim]['config']}'")
    log = Path(OPTIONS.ready).with_name(f"round{number}.log").open("w")
    processes[victim] = subprocess.Popen(f"exec {restart}", shell=True, stdout=log, stderr=log).pid
    until(lambda: same_head(), 60, f"node {victim} did not catch up")
    ALIVE[victim] = True
    print(f"round {number}: {sum(len(worker.taken) for worker in workers)} batches, "
          f"{sum(worker.again for worker in workers)} refusals; node {victim} is back, all nodes are at the same block")


def settle(workers, node):
    """Everything is committed, and counted once. What only the killed node had is handed in again, as its client would."""
    for worker in workers:
        found = status_of(node, worker.taken, 60)
        for each, status in zip(worker.taken, found):
            if status == "UNKNOWN":
                assert took(node, each)
        found = status_of(node, worker.taken, 60)
        bad = [each for each, status in zip(worker.taken, found) if status != "COMMITTED"]
        if bad:
            print(read(NODES[node]["sawtooth_rest"], f"/batch_statuses?id={bad[0].header_signature}"))
        assert not bad, f"{len(bad)} batches are {set(found)}"
        entry = requests.get(f"{NODES[node]['sawtooth_rest']}/state/{address(worker.family, worker.name_of)}", timeout=10)
        value = cbor.loads(base64.b64decode(entry.json()["data"]))
        value = value[worker.name_of] if worker.family == "intkey" else value
        assert value == len(worker.taken), f"{worker.family}: {value} of {len(worker.taken)}"


def same_head():
    try:
        heads = [read(node["sawtooth_rest"], "/blocks?limit=1")["data"][0] for node in NODES]
    except (requests.RequestException, AssertionError):
        return False
    return len({(head["header_signature"], head["header"]["state_root_hash"]) for head in heads}) == 1


def until(holds, seconds, otherwise):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(0.2)


def main():
    commands = [[sys.executable, str(HERE.parent / "sawtooth" / "processor.py"), node["sawtooth"]] for node in NODES]
    if RUST.exists():
        commands += [[str(RUST), "intkey", node["sawtooth"]] for node in NODES]
    else:
        print(f"skipped: processors in Rust, as {RUST} is not built (clients/sawtooth/test_rust.py builds it)")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(command, cwd=HERE.parent / "sawtooth", **quiet) for command in commands]
    processes = {index: node["pid"] for index, node in enumerate(NODES)}
    try:
        for number in range(1, OPTIONS.rounds + 1):
            one_round(number, processes)
        print("passed")
    finally:
        for process in running:
            process.kill()
        for index, pid in processes.items():
            if pid != NODES[index]["pid"]:
                os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
