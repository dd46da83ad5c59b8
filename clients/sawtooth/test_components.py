"""The component endpoint with the SDK's own connection: clients, subscribers, transaction processors."""

import subprocess
import sys
from pathlib import Path

import older_asyncio  # noqa: F401  first

import cbor
import pytest
from network import COMPONENTS, REST, WAIT_S, address, batch, fresh_name, post, read, statuses, transaction
from processor import FAMILY
from sawtooth_sdk.messaging.stream import Stream
from sawtooth_sdk.protobuf import client_batch_submit_pb2, client_block_pb2, client_event_pb2, client_state_pb2, events_pb2
from sawtooth_sdk.protobuf.validator_pb2 import Message

HERE = Path(__file__).resolve().parent


@pytest.fixture
def stream():
    stream = Stream(COMPONENTS[0])
    yield stream
    stream.close()


def start(url, family=FAMILY):
    return subprocess.Popen([sys.executable, str(HERE / "processor.py"), url, family], cwd=HERE)


def end(processes):
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def processors():
    """One beside each node, as users of the original have them."""
    running = [start(url) for url in COMPONENTS]
    yield running
    end(running)


def ask(stream, message_type, request, response):
    future = stream.send(Message.MessageType.Value(message_type), request.SerializeToString())
    response.ParseFromString(future.result(timeout=WAIT_S).content)
    return response


def test_a_client_submits_and_reads(stream):
    name = fresh_name()
    sent = batch(transaction("set", name, 5))
    request = client_batch_submit_pb2.ClientBatchSubmitRequest(batches=[sent])
    response = ask(stream, "CLIENT_BATCH_SUBMIT_REQUEST", request, client_batch_submit_pb2.ClientBatchSubmitResponse())
    assert response.status == response.OK
    request = client_batch_submit_pb2.ClientBatchStatusRequest(batch_ids=[sent.header_signature], wait=True, timeout=WAIT_S)
    response = ask(stream, "CLIENT_BATCH_STATUS_REQUEST", request, client_batch_submit_pb2.ClientBatchStatusResponse())
    assert response.batch_statuses[0].status == client_batch_submit_pb2.ClientBatchStatus.COMMITTED
    blocks = ask(stream, "CLIENT_BLOCK_LIST_REQUEST", client_block_pb2.ClientBlockListRequest(), client_block_pb2.ClientBlockListResponse())
    assert blocks.status == blocks.OK and blocks.head_id == blocks.blocks[0].header_signature
    request = client_state_pb2.ClientStateGetRequest(address=address("intkey", name))
    state = ask(stream, "CLIENT_STATE_GET_REQUEST", request, client_state_pb2.ClientStateGetResponse())
    assert cbor.loads(state.value) == {name: 5}


def test_a_subscriber_hears_of_the_state_it_asked_for(stream):
    name = fresh_name()
    subscription = events_pb2.EventSubscription(
        event_type="sawtooth/state-delta",
        filters=[
            events_pb2.EventFilter(
                key="address", match_string=f"^{address('intkey', name)}$", filter_type=events_pb2.EventFilter.REGEX_ANY
            )
        ],
    )
    request = client_event_pb2.ClientEventsSubscribeRequest(subscriptions=[subscription])
    response = ask(stream, "CLIENT_EVENTS_SUBSCRIBE_REQUEST", request, client_event_pb2.ClientEventsSubscribeResponse())
    assert response.status == response.OK
    post([batch(transaction("set", fresh_name(), 1)), batch(transaction("set", name, 1))])
    message = stream.receive().result(timeout=WAIT_S)
    assert message.message_type == Message.CLIENT_EVENTS
    events = events_pb2.EventList()
    events.ParseFromString(message.content)
    assert [event.event_type for event in events.events] == ["sawtooth/state-delta"]


def test_processors_of_the_sdk_execute_a_family(processors):
    name = fresh_name()
    batches = [batch(transaction("add", name, 1, FAMILY)) for _ in range(20)]
    batches += [batch(transaction("add", fresh_name(), 1, FAMILY)) for _ in range(20)]
    assert post(batches).status_code == 202
    assert set(statuses(batches)) == {"COMMITTED"}
    entry = read(REST[0], f"/state?address={address(FAMILY, name)}")["data"][0]
    assert entry["data"] == "FA=="
    receipt = read(REST[0], f"/receipts?id={batches[0].transactions[0].header_signature}")["data"][0]
    assert receipt["events"][0]["event_type"] == "counter/grown"
    assert receipt["data"] == ["cmVjZWlwdA=="]


def test_a_processor_finds_a_transaction_invalid(processors):
    failing = batch(transaction("fail", fresh_name(), 1, FAMILY))
    straying = batch(transaction("stray", fresh_name(), 1, FAMILY))
    assert post([failing, straying]).status_code == 202
    assert statuses([failing, straying]) == ["INVALID", "INVALID"]
    status = read(REST[0], f"/batch_statuses?id={failing.header_signature}")["data"][0]["invalid_transactions"][0]
    assert (status["message"], status["extended_data"]) == ("as it was asked to", "bW9yZQ==")


def test_work_goes_on_when_a_processor_dies(processors):
    more = [start(url) for url in COMPONENTS]
    try:
        batches = [batch(transaction("add", fresh_name(), 1, FAMILY)) for _ in range(60)]
        assert post(batches[:30]).status_code == 202
        end(processors)
        assert post(batches[30:]).status_code == 202
        assert set(statuses(batches)) == {"COMMITTED"}
    finally:
        end(more)


@pytest.mark.parametrize("node", range(len(COMPONENTS)))
def test_a_processor_at_any_node_gets_work(node):
    """At most one of these nodes is the primary; the others pass on what it has to do."""
    family = f"anywhere{fresh_name()}"
    process = start(COMPONENTS[node], family)
    try:
        name = fresh_name()
        batches = [batch(transaction("add", name, 1, family)) for _ in range(30)]
        assert post(batches).status_code == 202
        assert set(statuses(batches, REST[node])) == {"COMMITTED"}
        entry = read(REST[node], f"/state?address={address(family, name)}")["data"][0]
        assert entry["data"] == "GB4="
        failing = batch(transaction("fail", fresh_name(), 1, family))
        post([failing])
        assert statuses([failing]) == ["INVALID"]
    finally:
        end([process])


def test_a_processor_may_draw_lots(processors):
    """Each drawing is made once, and is the same on every node, with the same state root."""
    family = f"lots{fresh_name()}"
    running = [start(url, family) for url in COMPONENTS]
    try:
        names = [fresh_name() for _ in range(20)]
        batches = [batch(transaction("draw", name, 0, family)) for name in names]
        assert post(batches).status_code == 202
        for rest in REST:
            assert set(statuses(batches, rest)) == {"COMMITTED"}
        drawn = [read(rest, f"/state?address={address(family, names[0])[:6]}")["data"] for rest in REST]
        assert len({entry["data"] for entry in drawn[0]}) == len(names)
        assert all(each == drawn[0] for each in drawn)
        head = read(REST[0], "/blocks?limit=1")["data"][0]
        others = [read(rest, f"/blocks/{head['header_signature']}")["data"]["header"] for rest in REST]
        assert {each["state_root_hash"] for each in others} == {head["header"]["state_root_hash"]}
    finally:
        end(running)
