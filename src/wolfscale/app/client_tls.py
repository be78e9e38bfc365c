"""TLS for MySQL clients, from the configuration and the cluster's secret.

The node decides what its workers serve (`tls_options`) and finds out at its start whether that can be done;
each worker loads it for itself (`client_tls`).
"""

import socket
from pathlib import Path

import msgspec

from wolfscale import logs
from wolfscale.certificates import CertificateUnusable, GivenCertificate, ServerCertificate
from wolfscale.config import Config, outward_addresses, parse_address
from wolfscale.proxy.client_tls import ClientTls

log = logs.logger(__name__)


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What clients are offered.

    Attributes:
        required: whether clients without TLS are turned away.
        certificate: the operator's certificate; None: one of the cluster's own.
        key: its private key.
        node: whose certificate of the cluster's own it is.
        names: the names and addresses that it is for.
    """

    required: bool
    certificate: Path | None
    key: Path | None
    node: str
    names: tuple[str, ...]


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


def prepare(options: TlsOptions, secret: bytes, data_dir: Path | None) -> None:
    """Find out whether it can be served, and put what clients must trust into the data directory.

    Raises:
        CertificateUnusable: the operator's certificate cannot be used.
        OSError: the data directory cannot be written.
    """
    if options.certificate is not None and options.key is not None:
        GivenCertificate(options.certificate, options.key)
        log.info("taking MySQL clients with TLS", certificate=options.certificate)
        return
    certificate = ServerCertificate.from_secret(secret, options.node, options.names)
    trust = certificate.write_authority(data_dir) if data_dir is not None else "tls-authority.pem of any node"
    log.info(
        "taking MySQL clients with TLS and the cluster's own certificate",
        trust=trust,
        names=" ".join(certificate.names),
    )


def client_tls(options: TlsOptions | None, secret: bytes) -> ClientTls | None:
    """Load it.

    Raises:
        CertificateUnusable: the operator's certificate cannot be used (any more).
    """
    if options is None:
        return None
    if options.certificate is not None and options.key is not None:
        given = GivenCertificate(options.certificate, options.key)
        return ClientTls(context=given.context, required=options.required, refresh=lambda: _refresh(given))
    certificate = ServerCertificate.from_secret(secret, options.node, options.names)
    return ClientTls(context=certificate.context(), required=options.required)


def _refresh(given: GivenCertificate) -> None:
    try:
        if given.refresh():
            log.info("serving MySQL clients with the certificate that was renewed")
    except CertificateUnusable as error:
        log.warning("the certificate read before stays in force", reason=str(error))
