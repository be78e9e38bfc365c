"""mysql_native_password: the challenge, its answer, and what an answer gives away.

With P = SHA1(password) and H = SHA1(P), the server stores H ("the double hash", `*` and 40 hexadecimal
digits in mysql.global_priv) and checks that SHA1(answer XOR SHA1(salt + H)) = H. So whoever knows H and sees
an answer knows P, and P opens any later connection as that user.
Source: MariaDB sql/password.c, plugin native_password_authenticate in sql/sql_acl.cc.
"""

import hmac
import secrets
from hashlib import sha1

from wolfscale.mysql.constants import SALT_BYTES
from wolfscale.mysql.errors import LocalProtocolError

PROOF_BYTES = 20


def new_salt() -> bytes:
    """Twenty random bytes without NUL and `$`, as MariaDB's create_random_string makes them."""
    return bytes(
        byte % 94 + 33 if byte % 94 + 33 != 0x24 else 0x25 for byte in secrets.token_bytes(SALT_BYTES)
    )


def sha1_of_password(password: str) -> bytes:
    """SHA1(password): enough to log in, so as secret as the password itself."""
    return sha1(password.encode()).digest()


def double_sha1(sha1_password: bytes) -> bytes:
    """What the server stores: SHA1 of the SHA1."""
    return sha1(sha1_password).digest()


def scramble(sha1_password: bytes, salt: bytes) -> bytes:
    """The answer to a challenge, from SHA1(password) alone.

    Raises:
        LocalProtocolError: the hash or the salt is not 20 bytes long.
    """
    if len(sha1_password) != PROOF_BYTES or len(salt) != SALT_BYTES:
        raise LocalProtocolError("a native password proof needs a SHA1 and a salt of 20 bytes each")
    return _xor(sha1_password, sha1(salt + double_sha1(sha1_password)).digest())


def proof_from_answer(answer: bytes, salt: bytes, double_hash: bytes) -> bytes | None:
    """SHA1(password) if the answer proves it against the stored double hash, else None.

    An empty answer (no password) proves nothing. Hostile lengths are refused, not raised.
    """
    if len(answer) != PROOF_BYTES or len(double_hash) != PROOF_BYTES or len(salt) != SALT_BYTES:
        return None
    proof = _xor(answer, sha1(salt + double_hash).digest())
    return proof if hmac.compare_digest(double_sha1(proof), double_hash) else None


def parse_stored_hash(text: str) -> bytes | None:
    """The double hash from `*` and 40 hexadecimal digits; None when the text is anything else."""
    if len(text) != 2 * PROOF_BYTES + 1 or text[0] != "*":
        return None
    try:
        double_hash = bytes.fromhex(text[1:])
    except ValueError:
        return None
    return double_hash if len(double_hash) == PROOF_BYTES else None


def stored_hash(double_hash: bytes) -> str:
    """The text that MariaDB's PASSWORD() gives for a double hash."""
    return "*" + double_hash.hex().upper()


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(len(left), "little")
