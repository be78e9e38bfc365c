"""Keys for single purposes, from the cluster's secret: the same on every node, and none tells another one.

The secret is stretched with scrypt (RFC 7914) first: what is made from these keys reaches people who are
not told the secret (a token, a certificate), and must not let them guess a weak one at leisure.
"""

import functools
import hashlib
import hmac

_SALT = b"wolfscale keys 1"


def derived_key(secret: bytes, purpose: str) -> bytes:
    """32 bytes that only the secret's holders can make.

    Takes some 50 ms and 16 MiB for the first purpose of a secret in a process.

    Args:
        secret: the cluster's secret.
        purpose: what the key is for; another purpose gives an unrelated key.
    """
    return hmac.new(_stretched(secret), purpose.encode(), hashlib.sha256).digest()


@functools.lru_cache(maxsize=2)
def _stretched(secret: bytes) -> bytes:
    return hashlib.scrypt(secret, salt=_SALT, n=2**14, r=8, p=1, dklen=32)
