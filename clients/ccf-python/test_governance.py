"""The unmodified tools of the package `ccf` propose, vote and withdraw, on any node."""

import json
from pathlib import Path

import pytest
from governance import Member, Node, Refused
from running import READY, nodes_with

YES = "export function vote(proposal, proposerId) { return true }"
NO = "export function vote(proposal, proposerId) { return false }"


@pytest.fixture(scope="module")
def nodes() -> list[Node]:
    return [Node(node["api"], READY["service_certificate"]) for node in nodes_with("api")]


@pytest.fixture(scope="module")
def members(nodes) -> list[Member]:
    if "state" not in READY:
        pytest.skip("the network states no folder with its members' keys")
    members = [Member(Path(READY["state"]), index) for index in range(3)]
    for member in members:
        if nodes[0].get_json(f"service/members/{member.id}")["status"] != "Active":
            member.activate(nodes[0])
    return members


def named(member: Member, name: str) -> list:
    # Each check has a name of its own: the same proposal by the same member in the same second is a replay.
    return [{"name": "set_member_data", "args": {"member_id": member.id, "member_data": {"name": name}}}]


def name_of(node: Node, member: Member) -> str:
    return node.get_json(f"service/members/{member.id}")["memberData"]["name"]


def test_all_members_are_active(nodes, members):
    for node in nodes:
        listed = {member["memberId"]: member["status"] for member in node.get_json("service/members")["value"]}
        assert all(listed[member.id] == "Active" for member in members)


def test_a_majority_on_different_nodes_carries_a_proposal(nodes, members, tmp_path):
    before, after = name_of(nodes[0], members[2]), "Bank C"
    for name in (after, before):
        proposal = members[0].propose(nodes[0], named(members[2], name))
        assert (proposal["proposalState"], proposal["proposerId"], proposal["ballotCount"]) == ("Open", members[0].id, 0)
        identity = proposal["proposalId"]
        text = json.loads(nodes[0].get(f"members/proposals/{identity}/actions"))
        assert text == {"actions": named(members[2], name)}
        assert members[0].vote(nodes[-1], identity, YES)["proposalState"] == "Open"
        content = json.dumps({"ballot": YES}).encode()
        ballot = members[1].sign_outside("ballot", content, identity, tmp_path)
        carried = nodes[1 % len(nodes)].post(f"members/proposals/{identity}/ballots/{members[1].id}:submit", ballot)
        assert carried["proposalState"] == "Accepted"
        assert carried["finalVotes"] == {members[0].id: True, members[1].id: True}
        assert nodes[0].get(f"members/proposals/{identity}/ballots/{members[0].id}").decode() == YES
        assert name_of(nodes[1 % len(nodes)], members[2]) == name


def test_a_majority_against_it_rejects_a_proposal(nodes, members):
    identity = members[1].propose(nodes[-1], named(members[2], "nobody"))["proposalId"]
    members[0].vote(nodes[0], identity, NO)
    assert members[2].vote(nodes[0], identity, NO)["proposalState"] == "Rejected"
    assert nodes[0].get_json(f"members/proposals/{identity}")["proposalState"] == "Rejected"


def test_a_proposal_is_withdrawn_by_its_proposer_only(nodes, members):
    identity = members[0].propose(nodes[0], named(members[2], "no one"))["proposalId"]
    path = f"members/proposals/{identity}:withdraw"
    with pytest.raises(Refused, match="AuthorizationFailed"):
        nodes[0].post(path, members[1].sign("withdrawal", b"", identity))
    assert nodes[-1].post(path, members[0].sign("withdrawal", b"", identity))["proposalState"] == "Withdrawn"
    with pytest.raises(Refused, match="ProposalNotOpen"):
        members[1].vote(nodes[0], identity, YES)


def test_what_was_sent_is_not_taken_twice_and_a_vote_not_changed(nodes, members):
    content = json.dumps({"actions": named(members[2], "not anybody")}).encode()
    signed = members[0].sign("proposal", content)
    identity = nodes[0].post("members/proposals:create", signed)["proposalId"]
    with pytest.raises(Refused, match="400 ProposalReplay"):
        nodes[-1].post("members/proposals:create", signed)
    members[0].vote(nodes[0], identity, YES)
    with pytest.raises(Refused, match="400 VoteAlreadyExists"):
        members[0].vote(nodes[0], identity, NO)
    nodes[0].post(f"members/proposals/{identity}:withdraw", members[0].sign("withdrawal", b"", identity))


def test_a_ballot_that_never_ends_costs_its_member_its_vote_and_nobody_a_heartbeat(nodes, members):
    identity = members[0].propose(nodes[0], named(members[2], "never anybody"))["proposalId"]
    view = nodes[0].get_json("service/transactions/commit")["transactionId"].split(".")[0]
    for member in members[:2]:
        proposal = member.vote(nodes[0], identity, "export function vote() { while (true) {} }")
        assert proposal["proposalState"] == "Open"
    nodes[0].post(f"members/proposals/{identity}:withdraw", members[0].sign("withdrawal", b"", identity))
    assert nodes[-1].get_json("service/transactions/commit")["transactionId"].split(".")[0] == view


def test_bad_requests_meet_the_codes_that_ccf_gives(nodes, members):
    node = nodes[0]
    nobody = "0" * 64
    for ask, expected in [
        (lambda: node.get("members/proposals", query=""), "400 MissingApiVersionParameter"),
        (lambda: node.get("members/proposals", query="api-version=1999"), "400 UnsupportedApiVersionValue"),
        (lambda: node.get(f"members/proposals/{nobody}"), "404 ProposalNotFound"),
        (lambda: node.get("members/proposals/nonsense"), "400 InvalidResourceName"),
        (lambda: node.post("members/proposals:create", b"x"), "401 InvalidAuthenticationInfo"),
        (lambda: node.post("members/proposals:create", b"x", "application/json"), "401 InvalidAuthenticationInfo"),
        (lambda: members[0].propose(node, []), "400 ProposalFailedToValidate"),
        (lambda: members[0].propose(node, [{"name": "rob_bank"}]), "400 ProposalFailedToValidate"),
        (lambda: members[0].propose(node, named(members[2], "x"), seconds_ago=-100_000), "400 InvalidCreatedAt"),
        (lambda: members[0].vote(node, nobody, YES), "404 ProposalNotFound"),
    ]:
        with pytest.raises(Refused, match=expected):
            ask()


def test_the_service_says_what_it_is(nodes):
    info = nodes[0].get_json("service/info")
    assert info["status"] == "Open"
    assert "export function resolve(" in nodes[0].get("service/constitution").decode()
    listed = nodes[0].get_json("service/nodes")["value"]
    assert {node["status"] for node in listed} <= {"Trusted", "Retired"} and len(listed) >= len(nodes)
    assert nodes[0].get_json("service/join-policy")["virtual"]["measurements"]
    commit = nodes[0].get_json("service/transactions/commit")
    assert nodes[0].get_json(f"service/transactions/{commit['transactionId']}")["status"] == "Committed"
