"""TLS for MySQL clients: what a node tells its workers to serve, and how they load it.

The node finds out at its start whether it can be served (`prepare`); each worker loads it for itself
(`client_tls`). Knows no configuration, so that a worker imports little: see `tls_settings`.
"""

from pathlib import Path

import msgspec

from wolfscale import logs
from wolfscale.certificates import CertificateUnusable, GivenCertificate, ServerCertificate
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
