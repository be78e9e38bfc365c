"""What can go wrong on either end of the HTTP side."""

from pathlib import Path

from wolfscale.errors import WolfScaleError


class ApiError(WolfScaleError):
    """The root of this package's errors."""


class ApiBindError(ApiError):
    """The address for HTTP cannot be listened on.

    Attributes:
        address: the configured `host:port`.
    """

    def __init__(self, address: str, why: str) -> None:
        self.address = address
        super().__init__(
            f"cannot serve HTTP on {address}: {why}; set bind_address in [api] to an address that is free, "
            "or enabled = false"
        )


class NodeUnreachableError(ApiError):
    """No node answered at an endpoint.

    Attributes:
        endpoint: the address asked, as a URL.
    """

    def __init__(self, endpoint: str, why: str) -> None:
        self.endpoint = endpoint
        super().__init__(f"no answer from {endpoint}: {why}")


class EndpointInvalidError(NodeUnreachableError):
    """What was given as an endpoint is no address."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint, "it is no address: write http://HOST:PORT or https://HOST:PORT")


class AuthorityInvalidError(ApiError):
    """The file that should hold the authority of a node's certificate cannot be used."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} holds no certificate in PEM")


class NodeAnswerError(ApiError):
    """Something answered at an endpoint, but not as a WolfScale node does.

    Attributes:
        endpoint: the address asked, as a URL.
    """

    def __init__(self, endpoint: str, why: str) -> None:
        self.endpoint = endpoint
        super().__init__(f"{endpoint} does not answer like a WolfScale node: {why}")


class TokenRefusedError(NodeAnswerError):
    """A node did not answer for want of a token, or of a better one.

    Attributes:
        endpoint: the address asked, as a URL.
        status: 401, or 403 when the token is known and allows too little.
    """

    def __init__(self, endpoint: str, *, status: int, token_given: bool) -> None:
        self.status = status
        super().__init__(endpoint, "")
        if not token_given:
            why = "wants a token from whoever is not on its own machine"
        elif status == 403:
            why = "knows this token, which does not allow what was asked"
        else:
            why = "does not know this token"
        self.args = (f"{endpoint} {why}",)


class TokenFileError(ApiError):
    """The file with the operator's tokens cannot be used.

    Attributes:
        path: the file.
        line: the line to blame, from 1; None when it is the whole file.
    """

    def __init__(self, path: Path, line: int | None, why: str) -> None:
        self.path = path
        self.line = line
        where = f"{path}, line {line}" if line is not None else f"{path}"
        super().__init__(
            f"the token file ([api] tokens_file) {where}: {why}. It holds lines of read, write or admin and "
            "a token; make one with `openssl rand -hex 20`"
        )
