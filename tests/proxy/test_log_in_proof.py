"""What a log-in proves, and what of its dialogue passes: without a server, over memory streams."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.auth import double_sha1, new_salt, scramble, sha1_of_password, stored_hash
from wolfscale.mysql.constants import NATIVE_PASSWORD
from wolfscale.mysql.handshake import build_auth_switch
from wolfscale.mysql.results import Ok, build_error, build_ok, parse_error
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.accounts import (
    CLIENT_ED25519,
    Account,
    Method,
    Proof,
    is_signed,
    matched,
    parse_accounts,
    proven,
)
from wolfscale.proxy.dialogue import SERVER_SECONDS, LeaderWanted, LogInRefused, authenticate
from wolfscale.proxy.errors import BackendUnavailable, ProxyError

OK = build_ok(Ok(), 0x200)
HASH = stored_hash(double_sha1(sha1_of_password("secret")))


def account(*methods: Method, user: str = "u", host: str = "%") -> Account:
    return Account(user=user, host=host, methods=methods)


def rows(**privileges: Any) -> list[dict[str, str]]:
    return [{"user": "u", "host": "%", "priv": json.dumps(privileges)}]


def test_account_of_one_method_is_parsed() -> None:
    assert parse_accounts(rows(plugin="ed25519", authentication_string="K", ssl_type=1)) == (
        Account(user="u", host="%", methods=(Method("ed25519", "K"),), tls=True),
    )


def test_account_that_names_no_plugin_has_a_native_password() -> None:
    assert parse_accounts(rows(access=1)) == (account(Method(NATIVE_PASSWORD)),)


def test_alternatives_are_parsed_in_their_order() -> None:
    found = parse_accounts(
        rows(
            plugin=NATIVE_PASSWORD,
            authentication_string=HASH,
            auth_or=[{"plugin": "unix_socket", "authentication_string": "root"}, {}],
            ssl_type=3,
        )
    )
    expected = (Method("unix_socket", "root"), Method(NATIVE_PASSWORD, HASH))
    assert found == (Account(user="u", host="%", methods=expected, tls=True, certificate=True),)
    assert found[0].trusts_the_socket


def test_role_is_not_taken_for_an_account_without_a_password() -> None:
    assert parse_accounts(rows(is_role=True)) == ()


@given(st.text())
def test_what_is_no_account_is_left_out(text: str) -> None:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        assert parse_accounts([{"user": "u", "host": "%", "priv": text}]) == ()


@given(
    st.dictionaries(
        st.sampled_from(["plugin", "authentication_string", "auth_or", "ssl_type", "is_role"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
    )
)
def test_any_object_is_parsed_without_a_failure(privileges: dict[str, Any]) -> None:
    for found in parse_accounts(rows(**privileges)):
        assert found.methods


def test_account_is_matched_by_what_the_server_says() -> None:
    here, there = account(host="127.0.0.1"), account(host="10.%")
    assert matched([here, there], "u@127.0.0.1") == (here,)
    assert matched([here, there], "u@nowhere") == ()
    anonymous = account(user="")
    assert matched([here, anonymous], "@%") == (anonymous,)


@given(st.text(max_size=20), st.binary(max_size=40))
def test_native_answer_proves_its_own_password_only(password: str, wrong: bytes) -> None:
    salt = new_salt()
    sha1 = sha1_of_password(password)
    accounts = [account(Method(NATIVE_PASSWORD, stored_hash(double_sha1(sha1))))]
    found = proven(accounts, Proof(salt, scramble(sha1, salt)))
    assert found is not None
    assert found.sha1_password == sha1
    assert found.reopens
    if wrong != scramble(sha1, salt):
        assert proven(accounts, Proof(salt, wrong)) is None


def test_no_answer_proves_an_account_without_a_password_only() -> None:
    assert proven([account(Method(NATIVE_PASSWORD, HASH))], Proof(b"", b"")) is None
    found = proven([account(Method(NATIVE_PASSWORD))], Proof(b"", b""))
    assert found is not None
    assert found.sha1_password is None
    assert found.reopens
    assert proven([account(Method("unix_socket"))], Proof(b"", b"")) is None
    assert proven([account(Method("ed25519"))], Proof(b"", b"")) is None


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(max_size=70))
def test_signature_proves_its_key_and_challenge_only(seed: bytes, challenge: bytes, wrong: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    stored = base64.b64encode(private.public_key().public_bytes_raw()).decode().rstrip("=")
    signature = private.sign(challenge)
    accounts = [account(Method("ed25519", stored))]
    found = proven(accounts, Proof(challenge, signature, CLIENT_ED25519))
    assert found is not None
    assert not found.reopens
    assert proven(accounts, Proof(challenge, signature)) is None
    assert proven(accounts, Proof(challenge[:-1], signature, CLIENT_ED25519)) is None
    if wrong != signature:
        assert not is_signed(stored, challenge, wrong)
    assert not is_signed(stored, challenge + b"x", signature)


@given(st.text(), st.binary(max_size=40), st.binary(max_size=70))
def test_any_stored_key_is_taken(stored: str, challenge: bytes, signature: bytes) -> None:
    assert not is_signed(stored, challenge, signature)


async def dialogue(
    server_says: Sequence[bytes], client_says: Sequence[bytes], **options: Any
) -> tuple[bytes | Exception, list[bytes], list[bytes], Proof]:
    """Relay between scripted ends: the outcome, what the client and the server got, and the proof."""
    client_near, client_far = (PacketStream(item) for item in trio.testing.memory_stream_pair())
    server_near, server_far = (PacketStream(item) for item in trio.testing.memory_stream_pair())
    client_got: list[bytes] = []
    server_got: list[bytes] = []
    proof = Proof(b"s" * 20, b"")
    outcome: list[bytes | Exception] = []

    async def client() -> None:
        for payload in client_says:
            client_got.append(await client_far.read())
            await client_far.write(payload)
        client_got.append(await client_far.read())

    async def server() -> None:
        for number, payload in enumerate(server_says):
            await server_far.write(payload)
            if number < len(client_says):
                server_got.append(await server_far.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        nursery.start_soon(server)
        settings = {"secure": False, "final": True} | options
        try:
            outcome.append(await authenticate(client_near, server_near, proof, **settings))
        except (ProxyError, LogInRefused, LeaderWanted) as error:
            outcome.append(error)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return outcome[0], client_got, server_got, proof


@pytest.mark.parametrize(
    ("plugin", "secure", "final", "expected"),
    [
        (NATIVE_PASSWORD, False, False, bytes),
        (CLIENT_ED25519, False, True, bytes),
        (CLIENT_ED25519, False, False, LeaderWanted),
        ("parsec", False, True, bytes),
        ("auth_gssapi_client", False, False, LeaderWanted),
        ("caching_sha2_password", False, True, ProxyError),
        ("caching_sha2_password", True, True, bytes),
        ("mysql_clear_password", False, True, ProxyError),
        ("mysql_clear_password", True, False, bytes),
        ("dialog", False, True, ProxyError),
        ("dialog", True, False, bytes),
        ("mysql_old_password", True, True, ProxyError),
        ("authentication_webauthn_client", True, True, ProxyError),
    ],
)
async def test_plugin_passes_where_its_answer_may(
    plugin: str, secure: bool, final: bool, expected: type
) -> None:
    switch = build_auth_switch(plugin, b"c" * 32)
    outcome, client_got, server_got, proof = await dialogue(
        [switch, OK], [b"answer\0"], secure=secure, final=final
    )
    assert isinstance(outcome, expected)
    if expected is bytes:
        assert client_got == [switch]
        assert server_got == [b"answer\0"]
        assert proof.plugin == plugin
        assert proof.salt == (b"c" * 20 if plugin == NATIVE_PASSWORD else b"c" * 32 + b"\0")
    else:
        assert client_got == []  # nobody was asked for a password
        if isinstance(outcome, ProxyError):
            assert outcome.errno == 1251
            assert outcome.fatal


async def test_challenge_that_ends_with_a_nul_byte_of_its_own_keeps_it() -> None:
    challenge = b"c" * 31 + b"\0"
    switch = b"\xfe" + CLIENT_ED25519.encode() + b"\0" + challenge
    _, _, _, proof = await dialogue([switch, OK], [b"answer"])
    assert proof.salt == challenge


async def test_dialogue_of_several_questions_is_relayed() -> None:
    switch = build_auth_switch("dialog", b"\x04Password: ")
    outcome, client_got, server_got, proof = await dialogue(
        [switch, b"\x02Second factor: ", OK], [b"secret\0", b"123\0"], secure=True
    )
    assert outcome == OK
    assert client_got == [switch, b"\x02Second factor: "]
    assert server_got == [b"secret\0", b"123\0"]
    assert proof.answers == 2


async def test_refusal_reaches_the_client_as_it_is() -> None:
    refusal = build_error(1045, "28000", "Access denied for user 'u'@'h' (using password: YES)")
    outcome, client_got, _, _ = await dialogue([refusal], [])
    assert isinstance(outcome, LogInRefused)
    assert client_got == [refusal]


async def test_refusal_for_want_of_the_right_system_user_is_explained() -> None:
    outcome, client_got, _, _ = await dialogue(
        [build_error(1698, "28000", "Access denied for user 'u'@'h'")], []
    )
    assert isinstance(outcome, LogInRefused)
    error = parse_error(client_got[0])
    assert error.errno == 1698
    assert error.message.startswith("Access denied for user 'u'@'h' (accounts with unix_socket")


@pytest.mark.autojump
async def test_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    near, _far = trio.testing.memory_stream_pair()
    server, _server_far = trio.testing.memory_stream_pair()
    started = trio.current_time()
    with pytest.raises(BackendUnavailable, match="waits for a majority"):
        await authenticate(
            PacketStream(near), PacketStream(server), Proof(b"", b""), secure=False, final=True
        )
    assert trio.current_time() - started == pytest.approx(SERVER_SECONDS)
