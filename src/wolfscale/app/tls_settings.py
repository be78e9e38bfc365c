"""What the configuration says about TLS for MySQL clients."""

import socket

from wolfscale.app.client_tls import TlsOptions
from wolfscale.config import Config, outward_addresses, parse_address


def tls_options(config: Config, *, node: str, listen: str) -> TlsOptions | None:
    """What the configuration says about TLS for clients; None: it is off.

    Args:
        config: the node's, or the standalone proxy's.
        node: the name for a certificate of the cluster's own.
        listen: where clients are taken.
    """
    proxy = config.proxy
    if not proxy.tls:
        return None
    names = ["localhost", "127.0.0.1", "::1", node, socket.gethostname(), *outward_addresses(listen)]
    if config.node.advertise_address is not None:
        names.append(parse_address(config.node.advertise_address).host)
    return TlsOptions(
        required=proxy.require_tls,
        certificate=proxy.tls_cert,
        key=proxy.tls_key,
        node=node,
        names=tuple(dict.fromkeys(name.lower() for name in (*names, *proxy.tls_names))),
    )
