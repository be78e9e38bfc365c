"""MariaDB's accounts as a proxy must know them: who logs in by what, and what a log-in has proved.

A proxy is not asked by MariaDB, it asks: after a log-in that the server accepted, whether the client itself
has proved anything. On the server's unix socket, where the proxy sits, the plugin `unix_socket` would take
*the proxy's* operating system user for the client's; so a log-in through an account that has such a method
counts only with a proof that the proxy can check. Pure.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wolfscale.mysql.auth import parse_stored_hash, proof_from_answer
from wolfscale.mysql.constants import NATIVE_PASSWORD

ED25519 = "ed25519"
CLIENT_ED25519 = "client_ed25519"
_KEY_BYTES = 32
_CHALLENGE_BYTES = 32
_SOCKET_PLUGINS = frozenset({"unix_socket", "auth_socket", "named_pipe"})
"""Server plugins that look at who is at the other end of the server's own socket."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to log in to an account.

    Attributes:
        plugin: the server's plugin.
        stored: what it has stored: a hash, a public key, a name.
    """

    plugin: str
    stored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account.

    Attributes:
        user: its name; empty for the anonymous one.
        host: where from.
        methods: ways to log in, tried in this order.
        tls: whether MariaDB takes it under TLS only (REQUIRE SSL, X509, SUBJECT ...).
        certificate: whether it must show a certificate.
    """

    user: str
    host: str
    methods: tuple[Method, ...]
    tls: bool = False
    certificate: bool = False

    @property
    def trusts_the_socket(self) -> bool:
        """Whether MariaDB may have taken the proxy's operating system user for the client's."""
        return any(method.plugin in _SOCKET_PLUGINS for method in self.methods)


@dataclass(slots=True)
class Proof:
    """The last challenge and what the client answered to it.

    Attributes:
        salt: the challenge.
        answer: what the client said to it.
        plugin: the *client's* plugin that said it.
        answers: how many times the client was asked, the log-in packet's answer not counted.
    """

    salt: bytes
    answer: bytes
    plugin: str = NATIVE_PASSWORD
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Proven:
    """What is certain after a log-in.

    Attributes:
        sha1_password: SHA1(password), where it is known.
        reopens: whether that, or an account without a password, opens the session's other connections.
        clear_password: the password, where the client has shown it.
    """

    sha1_password: bytes | None
    reopens: bool
    clear_password: bytes | None = None


def parse_accounts(rows: Iterable[Mapping[str, Any]]) -> tuple[Account, ...]:
    """Accounts from rows of mysql.global_priv: `user`, `host`, and `priv` as JSON text.

    What is no JSON object is left out: MariaDB takes no log-in there either.
    """
    found = []
    for row in rows:
        try:
            privileges = msgspec.json.decode(str(row["priv"]))
        except msgspec.DecodeError:
            continue
        # A role is no account, though it stands among them: it would look like one without a password.
        if isinstance(privileges, dict) and not privileges.get("is_role"):
            found.append(_account(str(row["user"]), str(row["host"]), privileges))
    return tuple(found)


def _account(user: str, host: str, privileges: Mapping[str, Any]) -> Account:
    # An account that never named a plugin (root of a fresh server) has a native password, perhaps none.
    main = Method(
        str(privileges.get("plugin") or NATIVE_PASSWORD), str(privileges.get("authentication_string") or "")
    )
    methods = [main]
    alternatives = privileges.get("auth_or")
    if isinstance(alternatives, list) and alternatives:
        # An empty object stands for the account's own plugin.
        methods = [
            Method(str(item["plugin"]), str(item.get("authentication_string") or ""))
            if isinstance(item, dict) and item.get("plugin")
            else main
            for item in alternatives
        ]
    kind = privileges.get("ssl_type")
    kind = kind if isinstance(kind, int) else 0
    return Account(user=user, host=host, methods=tuple(methods), tls=kind > 0, certificate=kind > 1)


def matched(accounts: Sequence[Account], current_user: str) -> tuple[Account, ...]:
    """The account that CURRENT_USER() names, if it is among them."""
    user, _, host = current_user.rpartition("@")
    return tuple(item for item in accounts if item.user == user and item.host == host)


def proven(accounts: Sequence[Account], proof: Proof) -> Proven | None:
    """What the client's last answer proves against what is stored; None: nothing that can be checked here."""
    if proof.plugin == NATIVE_PASSWORD:
        for stored in _stored(accounts, NATIVE_PASSWORD):
            if not proof.answer:
                if not stored:
                    return Proven(None, reopens=True)
                continue
            double = parse_stored_hash(stored)
            if double is not None:
                sha1 = proof_from_answer(proof.answer, proof.salt, double)
                if sha1 is not None:
                    return Proven(sha1, reopens=True)
    elif proof.plugin == CLIENT_ED25519:
        for stored in _stored(accounts, ED25519):
            if is_signed(stored, proof.salt[:_CHALLENGE_BYTES], proof.answer):
                return Proven(None, reopens=False)
    return None


def _stored(accounts: Sequence[Account], plugin: str) -> Iterable[str]:
    return (method.stored for account in accounts for method in account.methods if method.plugin == plugin)


def is_signed(stored_key: str, challenge: bytes, signature: bytes) -> bool:
    """Whether a challenge is signed with the private key of an ed25519 account.

    Args:
        stored_key: the account's public key: 43 characters of base64 without padding.
        challenge: 32 bytes.
        signature: 64 bytes.
    """
    try:
        key = base64.b64decode(stored_key + "=", validate=True)
    except ValueError:
        return False
    if len(key) != _KEY_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, challenge)
    except (InvalidSignature, ValueError):
        return False
    return True
