"""The network under test as ../network.mjs describes it, and the contracts that ../contracts.mjs compiles."""

import json
import os
import secrets
import subprocess
from functools import cache
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent
DEFAULTS = json.loads((CLIENTS / "network.json").read_text())

URLS = os.environ["COCO_ETH_URLS"].split(",") if "COCO_ETH_URLS" in os.environ else DEFAULTS["urls"]
CHAIN_ID = int(os.environ.get("COCO_CHAIN_ID", DEFAULTS["chain_id"]))
MNEMONIC = DEFAULTS["mnemonic"]
INDEX = DEFAULTS["account"]["web3py"]
REFUSED = DEFAULTS["refused"]
UNKNOWN_METHOD = DEFAULTS["unknown_method"]
WAIT_S = int(os.environ.get("COCO_WAIT_MS", DEFAULTS["wait_ms"])) / 1000

HOME = (INDEX - 1) % len(URLS)
ELSEWHERE = (HOME + 1) % len(URLS)
UNKNOWN_HASH = "0x" + "5e" * 32


def fresh_address() -> bytes:
    """A receiver nobody has used before."""
    return secrets.token_bytes(20)


def web_socket(url: str) -> str:
    return url.replace("http", "ws", 1)


@cache
def contract(name: str) -> dict:
    """The compiled contract `name`: its abi, bytecode and deployedBytecode."""
    compiled = subprocess.run(["node", CLIENTS / "contracts.mjs"], check=True, capture_output=True, text=True)
    return json.loads((Path(compiled.stdout.strip()) / f"{name}.json").read_text())
