"""The exchanges that execution-apis marks `speconly`, judged as hive's rpc-compat simulator judges them: by the OpenRPC result schemas.

    python clients/openrpc.py CHECKOUT [URL]

CHECKOUT is one of github.com/ethereum/execution-apis, whose method descriptions are put together here; URL a node that imported
the chain of its test cases, as for conformance.test.mjs, which holds these exchanges to shapes of its own where there is no checkout.
An error counts only where one was recorded, with the same code and data. Needs jsonschema and PyYAML.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

import jsonschema
import yaml

HERE = Path(__file__).resolve().parent
VECTORS = Path(os.environ.get("COCO_VECTORS", HERE / ".." / ".." / "shared" / "vectors" / "execution-apis"))


def described(checkout: Path):
    """Result schemas by method, and what they refer to."""
    methods, schemas = {}, {}
    for path in sorted((checkout / "src").rglob("*.yaml")):
        if "error-groups" in path.parts:
            continue
        content = yaml.safe_load(path.read_text())
        if isinstance(content, list):
            methods.update({method["name"]: method["result"]["schema"] for method in content if "name" in method and "result" in method})
        elif "schemas" in path.parts:
            schemas.update(content)
    return methods, {"schemas": schemas}


def ask(url: str, body: str):
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def fault(found, expected, schema, components):
    """What is wrong with an answer, or None."""
    if "error" in found or "error" in expected:
        same = all(found.get("error", {}).get(name) == expected.get("error", {}).get(name) for name in ("code", "data"))
        return None if same else f"answered {found}, recorded {expected}"
    if schema is None:
        return "its method has no schema"
    whole = {**schema, "components": components}
    problem = jsonschema.exceptions.best_match(jsonschema.Draft201909Validator(whole).iter_errors(found["result"]))
    return problem and f"{'/'.join(map(str, problem.path))}: {problem.message[:300]}"


def main():
    methods, components = described(Path(sys.argv[1]))
    url = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8545"
    passed, failed = 0, 0
    for path in sorted(VECTORS.glob("*/*.io")):
        lines = path.read_text().splitlines()
        if not any("speconly:" in line for line in lines if line.startswith("//")):
            continue
        requests = [line[2:].strip() for line in lines if line.startswith(">>")]
        answers = [json.loads(line[2:]) for line in lines if line.startswith("<<")]
        faults = []
        for body, expected in zip(requests, answers, strict=True):
            method = json.loads(body)["method"]
            faults.append(fault(ask(url, body), expected, methods.get(method), components))
        faults = [each for each in faults if each]
        passed, failed = passed + (not faults), failed + bool(faults)
        print("not ok" if faults else "ok", path.relative_to(VECTORS), *faults)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
