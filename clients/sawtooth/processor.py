"""A transaction processor as a user of the SDK writes one: counters that only grow.

Run with a node's component endpoint as its argument; one for each node.
"""

import sys

import older_asyncio  # noqa: F401  first

import cbor
from network import address, sha512
from sawtooth_sdk.processor.core import TransactionProcessor
from sawtooth_sdk.processor.exceptions import InvalidTransaction
from sawtooth_sdk.processor.handler import TransactionHandler

FAMILY = "clientcounter"


class Counter(TransactionHandler):
    family_name = FAMILY
    family_versions = ["1.0"]
    namespaces = [sha512(FAMILY.encode())[:6]]

    def apply(self, transaction, context):
        order = cbor.loads(transaction.payload)
        place = address(FAMILY, order["Name"])
        entries = context.get_state([place])
        value = cbor.loads(entries[0].data) if entries and entries[0].data else 0
        if order["Verb"] == "fail":
            raise InvalidTransaction("as it was asked to", extended_data=b"more")
        if order["Verb"] == "stray":
            context.set_state({address("elsewhere", "x"): b"x"})
        context.set_state({place: cbor.dumps(value + order["Value"])})
        context.add_event("counter/grown", attributes=[("name", order["Name"])], data=b"grown")
        context.add_receipt_data(b"receipt")


def main():
    processor = TransactionProcessor(url=sys.argv[1])
    processor.add_handler(Counter())
    processor.start()


if __name__ == "__main__":
    main()
