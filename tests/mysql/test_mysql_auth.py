from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.auth import (
    double_sha1,
    new_salt,
    parse_stored_hash,
    proof_from_answer,
    scramble,
    sha1_of_password,
    stored_hash,
)
from wolfscale.mysql.errors import LocalProtocolError


def test_stored_hash_of_a_known_password_is_what_the_server_stores() -> None:
    # SELECT PASSWORD('secret') on MariaDB 10.11.19.
    assert stored_hash(double_sha1(sha1_of_password("secret"))) == "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"


@given(st.text(min_size=1), st.binary(min_size=20, max_size=20))
def test_answer_gives_away_the_proof_that_made_it(password: str, salt: bytes) -> None:
    proof = sha1_of_password(password)
    answer = scramble(proof, salt)
    assert proof_from_answer(answer, salt, double_sha1(proof)) == proof
    assert scramble(proof, salt) == answer


@given(st.binary(max_size=24), st.binary(min_size=20, max_size=20))
def test_wrong_answer_proves_nothing(answer: bytes, salt: bytes) -> None:
    double_hash = double_sha1(sha1_of_password("secret"))
    if answer != scramble(sha1_of_password("secret"), salt):
        assert proof_from_answer(answer, salt, double_hash) is None


def test_answer_to_another_salt_proves_nothing() -> None:
    proof = sha1_of_password("secret")
    assert proof_from_answer(scramble(proof, b"a" * 20), b"b" * 20, double_sha1(proof)) is None


@pytest.mark.parametrize(
    "text", ["", "*", "*14E65567", "invalid", "*" + "G" * 40, "*" + "12 " * 13 + "1", "+" + "0" * 40]
)
def test_stored_hash_of_another_kind_is_none(text: str) -> None:
    assert parse_stored_hash(text) is None


def test_stored_hash_round_trips() -> None:
    double_hash = sha1(b"x").digest()
    assert parse_stored_hash(stored_hash(double_hash)) == double_hash


def test_salts_hold_no_byte_that_ends_or_splits_them() -> None:
    salts = {new_salt() for _ in range(200)}
    assert len(salts) == 200
    assert all(len(salt) == 20 and 0 not in salt and 0x24 not in salt and max(salt) < 128 for salt in salts)


def test_scramble_with_a_short_salt_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        scramble(sha1_of_password("x"), b"short")
