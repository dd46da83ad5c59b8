"""Once the network has stopped: its ledger folders as an auditor with the package `ccf` sees them."""

from running import nodes_with
from verify_ledger import verify, verify_all


def test_every_signature_of_every_node_verifies_up_to_the_tip():
    for node in nodes_with("ledger"):
        print(node["node"], verify(node["ledger"]))


def test_all_nodes_hold_the_same_transactions():
    verify_all([node["ledger"] for node in nodes_with("ledger")])
