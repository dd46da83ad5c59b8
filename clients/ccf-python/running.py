"""The network under test as `COCO_READY`, the line it printed when ready, describes it."""

import json
import os

import pytest

READY = json.loads(os.environ.get("COCO_READY", '{"nodes": []}'))


def nodes_with(field: str) -> list[dict]:
    """The nodes, if all of them state `field`; else the check is skipped, which only a network that is not Coco's may need."""
    nodes = READY["nodes"]
    if not nodes or any(field not in node for node in nodes):
        pytest.skip(f"the network states no {field!r}")
    return nodes
