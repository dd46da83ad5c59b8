"""Unmodified libraries as callers: PyJWT's tokens, a wallet's `personal_sign`, Sawtooth's signing library, requests with an `Idempotency-Key`."""

import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from governance import Member, Node
from running import READY, nodes_with
from sawtooth_signing import CryptoFactory, create_context

YES = "export function vote(proposal, proposerId) { return true }"
ISSUER = "https://id.bank.example"
AUDIENCE = "coco.example"
TYPES = {"IdentityBinding": [{"name": "statement", "type": "string"}]}
DOMAIN = {"name": "Coco", "version": "1"}


class Caller:
    """Speaks to nodes with a token, or without one."""

    def __init__(self, token: str | None = None):
        self.token = token
        self.tls = ssl.create_default_context(cafile=READY["service_certificate"])

    def ask(self, node: dict, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict, bytes]:
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(node["api"].rstrip("/") + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()

    def json(self, node: dict, method: str, path: str, body: dict | None = None, **headers: str) -> tuple[int, dict]:
        data = None if body is None else json.dumps(body).encode()
        status, _, answer = self.ask(node, method, path, data, content_type="application/json", **headers)
        return status, json.loads(answer) if answer else {}


@pytest.fixture(scope="module")
def nodes() -> list[dict]:
    return nodes_with("api")


@pytest.fixture(scope="module")
def issuer(nodes) -> dict:
    """An issuer with a key of each kind, accepted by vote."""
    if "state" not in READY:
        pytest.skip("the network states no folder with its members' keys")
    node, members = Node(nodes[0]["api"], READY["service_certificate"]), [Member(Path(READY["state"]), index) for index in range(3)]
    for member in members:
        if node.get_json(f"service/members/{member.id}")["status"] != "Active":
            member.activate(node)
    keys = {
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
    }
    jwk = {alg: json.loads(jwt.get_algorithm_by_name(alg).to_jwk(key.public_key())) for alg, key in keys.items()}
    jwks = {"keys": [{"kid": alg, **fields} for alg, fields in jwk.items()]}
    for each in jwks["keys"]:
        each.pop("key_ops", None)
    args = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": jwks}
    proposal = members[0].propose(node, [{"name": "set_jwt_issuer", "args": args}])
    for member in members:
        if proposal["proposalState"] == "Open":
            proposal = member.vote(node, proposal["proposalId"], YES)
    assert proposal["proposalState"] == "Accepted", proposal
    assert ISSUER in node.get_json("service/jwk")["issuers"]
    return keys


def token(issuer: dict, subject: str, alg: str = "ES256", **changes) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": subject, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600, **changes}
    return jwt.encode(claims, issuer[alg], algorithm=alg, headers={"kid": alg})


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "ES512"])
def test_tokens_of_every_kind_of_key_are_known_at_every_node(nodes, issuer, alg):
    for node in nodes:
        status, shown = Caller(token(issuer, "ann", alg)).json(node, "GET", "/app/identities")
        assert (status, shown["caller"]) == (200, [{"Token": {"issuer": ISSUER, "subject": "ann"}}])


def test_tokens_that_do_not_hold_are_refused(nodes, issuer):
    now = int(time.time())
    good = token(issuer, "ann")
    public = issuer["ES256"].public_key()
    wrong = [
        token(issuer, "ann", exp=now - 1),
        token(issuer, "ann", nbf=now + 3600),
        token(issuer, "ann", aud="another"),
        token(issuer, "ann", iss="https://evil.example"),
        jwt.encode({"iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "exp": now + 600}, None, algorithm="none", headers={"kid": "ES256"}),
        jwt.encode(
            {"iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "exp": now + 600},
            f"{public.public_numbers().x}-{public.public_numbers().y}-long-enough-for-a-secret",
            algorithm="HS256",
            headers={"kid": "ES256"},
        ),
        good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "x" * 20_000,
    ]
    for each in wrong:
        status, headers, answer = Caller(each).ask(nodes[0], "GET", "/app/identities")
        assert (status, json.loads(answer)["error"]["code"]) == (401, "InvalidAuthenticationInfo")
        assert headers["www-authenticate"].startswith("Bearer ")
    assert Caller(good).json(nodes[0], "GET", "/app/identities")[0] == 200


def bind(caller: Caller, node: dict, ledger: str, identity: str, sign) -> tuple[int, dict]:
    status, statement = caller.json(node, "POST", "/app/identities/challenge", {"ledger": ledger, "identity": identity})
    assert status == 200, statement
    proof = {name: statement[name] for name in ("ledger", "identity", "asOf", "until")}
    return caller.json(node, "POST", "/app/identities/bind", {**proof, "signature": sign(statement["statement"])})


def personal(account):
    return lambda text: account.sign_message(encode_defunct(text=text)).signature.hex()


def typed(account):
    return lambda text: account.sign_message(encode_typed_data(DOMAIN, TYPES, {"statement": text})).signature.hex()


def test_a_wallet_and_a_sawtooth_key_are_bound_by_both_keys_and_taken_away(nodes, issuer):
    first, last = nodes[0], nodes[-1]
    ann = Caller(token(issuer, f"ann-{uuid.uuid4()}"))
    wallet, other = Account.create(), Account.create()
    assert bind(ann, last, "ethereum", wallet.address, personal(other))[0] == 403
    for form in (personal, typed):
        status, told = bind(ann, last, "ethereum", wallet.address, form(wallet))
        assert status == 204, told
    context = create_context("secp256k1")
    signer = CryptoFactory(context).new_signer(context.new_random_private_key())
    status, told = bind(ann, first, "sawtooth", signer.get_public_key().as_hex(), lambda text: signer.sign(text.encode()))
    assert status == 204, told
    bound = {(each["ledger"], each["identity"]) for each in ann.json(first, "GET", "/app/identities")[1]["bindings"]}
    assert bound == {("ethereum", wallet.address.lower()), ("sawtooth", signer.get_public_key().as_hex())}
    bob = Caller(token(issuer, f"bob-{uuid.uuid4()}"))
    assert bob.json(first, "GET", "/app/identities")[1]["bindings"] == []
    wanted = {"ledger": "ethereum", "identity": wallet.address}
    assert bob.json(last, "POST", "/app/identities/unbind", wanted)[0] == 404
    assert ann.json(last, "POST", "/app/identities/unbind", wanted)[0] == 204
    assert Caller().json(first, "POST", "/app/identities/challenge", wanted)[0] == 401


def test_ethereum_is_served_to_known_callers_over_tls(nodes, issuer):
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    status, answer = Caller(token(issuer, "ann")).json(nodes[0], "POST", "/app/ethereum", question)
    assert (status, answer["result"]) == (200, hex(31337))
    assert Caller().json(nodes[0], "POST", "/app/ethereum", question)[0] == 401


def test_a_write_that_comes_again_happens_once(nodes):
    caller, key, path = Caller(), f'"{uuid.uuid4()}"', f"/app/records/{uuid.uuid4()}"
    first = caller.ask(nodes[0], "PUT", path, b"1", idempotency_key=key)
    assert first[0] == 204
    assert caller.ask(nodes[0], "PUT", path, b"2")[0] == 204
    again = caller.ask(nodes[-1], "PUT", path, b"1", idempotency_key=key)
    assert (again[0], again[1]["x-ms-ccf-transaction-id"]) == (204, first[1]["x-ms-ccf-transaction-id"])
    status, _, answer = caller.ask(nodes[-1], "PUT", path, b"3", idempotency_key=key)
    assert (status, json.loads(answer)["error"]["code"]) == (422, "IdempotencyKeyReused")
    assert caller.ask(nodes[0], "PUT", path, b"3", idempotency_key="a b")[0] == 400
    assert caller.ask(nodes[0], "GET", path)[2] == b"2"
