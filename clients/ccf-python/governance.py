"""Members at work with the tools of the package `ccf`, as its documentation has them, against a running network."""

import base64
import datetime
import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509 import load_pem_x509_certificate

TOOLS = Path(sys.executable).parent
VERSION = "api-version=2024-07-01"


class Refused(Exception):
    """An answer that is not a success: its status and CCF's code."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class Node:
    """One node's `/gov`."""

    def __init__(self, api: str, service_certificate: str):
        self.api = api.rstrip("/")
        self.tls = ssl.create_default_context(cafile=service_certificate)

    def get(self, path: str, query: str = VERSION) -> bytes:
        return self._ask(urllib.request.Request(f"{self.api}/gov/{path}?{query}"))

    def get_json(self, path: str) -> dict:
        return json.loads(self.get(path))

    def post(self, path: str, cose: bytes, content_type: str = "application/cose") -> dict:
        request = urllib.request.Request(f"{self.api}/gov/{path}?{VERSION}", cose, {"content-type": content_type}, method="POST")
        answer = self._ask(request)
        return json.loads(answer) if answer else {}

    def _ask(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            told = json.loads(error.read())["error"]
            raise Refused(error.code, told["code"], told["message"]) from error


class Member:
    """A member with its key in a file."""

    def __init__(self, folder: Path, index: int):
        self.key, self.certificate = folder / f"member{index}_privk.pem", folder / f"member{index}_cert.pem"
        self.id = load_pem_x509_certificate(self.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()

    def sign(self, kind: str, content: bytes, proposal: str | None = None, seconds_ago: int = 0) -> bytes:
        """`ccf_cose_sign1`."""
        return run("ccf_cose_sign1", content, *self._about(kind, proposal, seconds_ago), "--signing-key", self.key)

    def sign_outside(self, kind: str, content: bytes, proposal: str | None, folder: Path) -> bytes:
        """`ccf_cose_sign1_prepare`, a signature by somebody who sees a digest only, `ccf_cose_sign1_finish`."""
        about = self._about(kind, proposal, 0)
        to_sign = json.loads(run("ccf_cose_sign1_prepare", content, *about))
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        algorithm = {"ES256": hashes.SHA256(), "ES384": hashes.SHA384()}[to_sign["alg"]]
        der = key.sign(base64.b64decode(to_sign["value"]), ec.ECDSA(utils.Prehashed(algorithm)))
        size = (key.curve.key_size + 7) // 8
        raw = b"".join(number.to_bytes(size, "big") for number in utils.decode_dss_signature(der))
        signature = folder / "signature.json"
        signature.write_text(json.dumps({"value": base64.urlsafe_b64encode(raw).decode()}))
        return run("ccf_cose_sign1_finish", content, *about, "--signature", signature)

    def _about(self, kind: str, proposal: str | None, seconds_ago: int) -> list:
        created = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds_ago)
        about = ["--signing-cert", self.certificate, "--ccf-gov-msg-type", kind]
        about += ["--ccf-gov-msg-created_at", created.isoformat(timespec="seconds")]
        return about + (["--ccf-gov-msg-proposal_id", proposal] if proposal else [])

    def activate(self, node: Node) -> None:
        path = f"members/state-digests/{self.id}"
        digest = node.post(f"{path}:update", self.sign("state_digest", b""))
        assert digest["memberId"] == self.id
        node.post(f"{path}:ack", self.sign("ack", json.dumps({"stateDigest": digest["stateDigest"]}).encode()))

    def propose(self, node: Node, actions: list, seconds_ago: int = 0) -> dict:
        content = json.dumps({"actions": actions}).encode()
        return node.post("members/proposals:create", self.sign("proposal", content, seconds_ago=seconds_ago))

    def vote(self, node: Node, proposal: str, ballot: str) -> dict:
        content = json.dumps({"ballot": ballot}).encode()
        return node.post(f"members/proposals/{proposal}/ballots/{self.id}:submit", self.sign("ballot", content, proposal))


def run(tool: str, content: bytes, *arguments) -> bytes:
    command = [str(TOOLS / tool), "--content", "-", *map(str, arguments)]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout
