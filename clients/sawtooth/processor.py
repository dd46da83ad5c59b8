"""A transaction processor as a user of the SDK writes one: counters that only grow.

Run with a node's component endpoint as its argument, and another family's name if it is to serve that.
"""

import secrets
import sys

import older_asyncio  # noqa: F401  first

import cbor
from network import address, sha512
from sawtooth_sdk.processor.core import TransactionProcessor
from sawtooth_sdk.processor.exceptions import InvalidTransaction
from sawtooth_sdk.processor.handler import TransactionHandler

FAMILY = "clientcounter"


class Counter(TransactionHandler):
    family_name, family_versions, namespaces = None, ["1.0"], None

    def __init__(self, family):
        self.family_name = family
        self.namespaces = [sha512(family.encode())[:6]]

    def apply(self, transaction, context):
        order = cbor.loads(transaction.payload)
        place = address(self.family_name, order["Name"])
        entries = context.get_state([place])
        if order["Verb"] == "fail":
            raise InvalidTransaction("as it was asked to", extended_data=b"more")
        if order["Verb"] == "draw":
            context.set_state({place: secrets.token_bytes(16)})
            return
        if order["Verb"] == "stray":
            context.set_state({address("elsewhere", "x"): b"x"})
        value = cbor.loads(entries[0].data) if entries and entries[0].data else 0
        context.set_state({place: cbor.dumps(value + order["Value"])})
        context.add_event("counter/grown", attributes=[("name", order["Name"])], data=b"grown")
        context.add_receipt_data(b"receipt")


def main():
    processor = TransactionProcessor(url=sys.argv[1])
    processor.add_handler(Counter(sys.argv[2] if len(sys.argv) > 2 else FAMILY))
    processor.start()


if __name__ == "__main__":
    main()
