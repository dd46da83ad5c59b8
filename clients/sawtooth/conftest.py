"""Skips everything where the network under test has no Sawtooth."""

import pytest
from network import REST


def pytest_collection_modifyitems(items):
    if not REST:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="the network under test serves no Sawtooth"))
