"""How a node serves HTTP, from its configuration and the cluster's secret: tokens, names, TLS, bounds."""

import socket
import ssl
from pathlib import Path

from wolfscale import logs
from wolfscale.api.access import AccessPolicy, TokenBook
from wolfscale.api.origins import is_loopback
from wolfscale.api.server import ServerOptions
from wolfscale.api.tokens import FILE_NAME, TokenFile, TokenList, made_tokens, write_tokens
from wolfscale.certificates import CertificateUnusable, GivenCertificate, ServerCertificate
from wolfscale.config import Config, outward_addresses, parse_address

log = logs.logger(__name__)

_HOSTS_FILE = Path("/etc/hosts")


def http_options(config: Config, secret: bytes) -> ServerOptions:
    """Everything about HTTP that the operator decides, ready to serve with.

    Writes the tokens and the authority into the data directory where they are the cluster's own.

    Raises:
        WolfScaleError: a file of the operator's cannot be used.
        OSError: the data directory cannot be written.
    """
    api = config.api
    given = None
    if api.tls and api.tls_cert is not None and api.tls_key is not None:
        given = GivenCertificate(api.tls_cert, api.tls_key)
    return ServerOptions(
        policy=AccessPolicy(
            tokens=_tokens(config, secret),
            token_on_loopback=api.require_token_on_loopback,
            allowed_origins=api.allowed_origins,
            own_names=own_names(config),
        ),
        tls=given.context if given else _own_certificate(config, secret) if api.tls else None,
        refresh=(lambda: _refresh(given)) if given else None,
        body_bytes=api.max_body_kb << 10,
        connections=api.max_connections,
    )


def own_names(config: Config, hosts_file: Path = _HOSTS_FILE) -> tuple[str, ...]:
    """The names and addresses by which this node may be called, as far as it knows them without asking."""
    host = socket.gethostname()
    names = [
        config.node.id,
        host,
        *_full_names(host, hosts_file),
        parse_address(config.advertised_address()).host,
        *outward_addresses(config.api.bind_address),
        *config.api.tls_names,
    ]
    return tuple(dict.fromkeys(name.lower() for name in names))


def _full_names(host: str, hosts_file: Path) -> list[str]:
    """The machine's name with its domain, where its owner has given that to loopback, as Debian does.

    Asking the DNS could take long. Other names of loopback may be thousands: some block advertisers so.
    """
    try:
        lines = hosts_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    entries = [line.partition("#")[0].split() for line in lines]
    names = [name for address, *names in filter(None, entries) if is_loopback(address) for name in names]
    return [name for name in names if name.partition(".")[0].lower() == host.partition(".")[0].lower()]


def _tokens(config: Config, secret: bytes) -> TokenBook:
    if config.api.tokens_file is not None:
        return TokenFile(config.api.tokens_file)
    tokens = made_tokens(secret)
    logs.hide(*(token.value for token in tokens))
    path = config.data_dir / FILE_NAME
    if write_tokens(path, tokens):
        log.info("wrote the cluster's tokens for HTTP from other machines", path=path)
    return TokenList(tokens)


def _refresh(given: GivenCertificate) -> None:
    try:
        if given.refresh():
            log.info("serving HTTP with the certificate that was renewed")
    except CertificateUnusable as error:
        log.warning("the certificate read before stays in force", reason=str(error))


def _own_certificate(config: Config, secret: bytes) -> ssl.SSLContext:
    names = ("localhost", "127.0.0.1", "::1", *own_names(config))
    certificate = ServerCertificate.from_secret(secret, config.node.id, names)
    path = certificate.write_authority(config.data_dir)
    log.info("serving HTTP with the cluster's own certificate", trust=path, names=" ".join(certificate.names))
    return certificate.context()
