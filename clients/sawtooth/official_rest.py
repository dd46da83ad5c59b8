"""The original's REST API in front of a Coco node's component endpoint, and Coco's own: the same answers?

    sawtooth-rest-api -B 127.0.0.1:18300 -C tcp://127.0.0.1:4014        # of sawtooth-core 1.2, in Python 3.8
    python sawtooth/official_rest.py --official http://127.0.0.1:18300 --own http://127.0.0.1:8018

Both must stand before the same node, which has committed a few batches. Data must be the same byte for byte, but for the host in links; of an error
the status, code and title, as its message is free text.
"""

import argparse
import json

import requests

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--official", required=True)
PARSER.add_argument("--own", required=True)
OPTIONS = PARSER.parse_args()

OCTETS, JSON, TEXT = "application/octet-stream", "application/json", "text/plain"
NOTHING = "a" * 128


def listed(path):
    return requests.get(f"{OPTIONS.own}{path}", timeout=30).json()["data"]


def paths():
    blocks = [each["header_signature"] for each in listed("/blocks")]
    batches = [each["header_signature"] for each in listed("/batches")]
    transactions = [each["header_signature"] for each in listed("/transactions")]
    address, first = listed("/state")[0]["address"], blocks[-1]
    yield from ("/blocks", "/blocks?limit=1", "/blocks?reverse", "/blocks?reverse=false&limit=2", f"/blocks/{blocks[0]}")
    yield from ("/blocks?start=0x0000000000000001", f"/blocks?id={first}", f"/blocks?head={first}", "/batches", "/batches?limit=1")
    yield from (f"/batches/{batches[0]}", f"/batches?id={','.join(batches[:2])}", "/transactions?limit=2", f"/transactions/{transactions[0]}")
    yield from (f"/receipts?id={transactions[0]}", f"/receipts?id={','.join(transactions[:2])}", "/state", "/state?address=000000")
    yield from ("/state?address=000000&limit=1", f"/state/{address}", f"/state?head={first}", f"/batch_statuses?id={batches[0]}&wait=1")
    yield from (f"/batch_statuses?id={NOTHING}", "/peers", "/status", "/blocks?limit=0", "/blocks?limit=x", "/blocks?start=zz", "/blocks?head=zz")
    yield from (f"/blocks?head={NOTHING}", "/blocks?id=zz", "/blocks/zz", f"/blocks/{NOTHING}", f"/batches/{NOTHING}", "/batches/x")
    yield from (f"/transactions/{NOTHING}", "/receipts", f"/receipts?id={NOTHING}", f"/state/{'a' * 70}", "/state/zz", f"/state?head={NOTHING}")
    yield from ("/batch_statuses", "/batch_statuses?id=zz", "/blocks?reverse=true", f"/state?start={'a' * 70}")
    some, both = json.dumps(batches[:2]), json.dumps(transactions[:2])
    yield from (("/batches", b"", OCTETS), ("/batches", b"\xff", OCTETS), ("/batches", b"x", TEXT), ("/batch_statuses", b"[]", JSON))
    yield from (("/batch_statuses", some, JSON), ("/batch_statuses", "{}", TEXT), ("/receipts", both, JSON), ("/receipts", "[1]", JSON))
    yield ("/receipts", "[]", TEXT)


def answer(host, request):
    if isinstance(request, str):
        response = requests.get(f"{host}{request}", timeout=60)
    else:
        path, body, content_type = request
        response = requests.post(f"{host}{path}", body, headers={"Content-Type": content_type}, timeout=60)
    body = response.text.replace(host, "")
    error = response.json().get("error")
    return response.status_code, (error["code"], error["title"]) if error else body


def main():
    same, different = 0, []
    for request in paths():
        official, own = answer(OPTIONS.official, request), answer(OPTIONS.own, request)
        if official == own:
            same += 1
        else:
            different.append((request, official, own))
    for request, official, own in different:
        print(f"{request}:\n  official {official}\n  own      {own}")
    print(f"{same} the same, {len(different)} different")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
