"""What can go wrong on either end of the HTTP side."""

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


class NodeAnswerError(ApiError):
    """Something answered at an endpoint, but not as a WolfScale node does.

    Attributes:
        endpoint: the address asked, as a URL.
    """

    def __init__(self, endpoint: str, why: str) -> None:
        self.endpoint = endpoint
        super().__init__(f"{endpoint} does not answer like a WolfScale node: {why}")
