"""What keys must be to each other: rules over a configuration whose values are each fine by themselves."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wolfscale.config.addresses import Address, is_this_machine, parse_address
from wolfscale.config.models import MINIMUM_SECRET_CHARACTERS, Config

Key = tuple[str, str]
_HEARTBEATS_PER_ELECTION = 3
_EXTERNAL_ONLY = ("socket", "data_dir", "systemd_unit", "start_command", "stop_command", "kill_command")
_MANAGED_ONLY = ("buffer_pool_mb", "options", "application_user")
_COMMANDS = ("start_command", "stop_command", "kill_command")
_TLS_FILES = ("tls_cert", "tls_key", "tls_ca")
_SERVER_TLS_FILES = ("tls_cert", "tls_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A rule between keys that is broken.

    Attributes:
        key: the key to blame, as (section, key).
        reason: what is wrong and what would be right.
        involves: other keys that the rule read; when one of them is itself unusable, the rule says nothing.
        element: the text of the list element meant, to find its line.
    """

    key: Key
    reason: str
    involves: tuple[Key, ...] = ()
    element: str | None = None


def conflicts(config: Config) -> Iterator[Conflict]:
    """Every broken rule between keys, each once."""
    for rule in _RULES:
        yield from rule(config)


def _timing(config: Config) -> Iterator[Conflict]:
    heartbeat = config.cluster.heartbeat_interval_ms
    least = _HEARTBEATS_PER_ELECTION * heartbeat
    if config.cluster.election_timeout_ms < least:
        yield Conflict(
            key=("cluster", "election_timeout_ms"),
            reason=f"{config.cluster.election_timeout_ms} ms is less than three heartbeats of {heartbeat} "
            f"ms: one lost packet would unseat a leader; set it to {least} or more",
            involves=(("cluster", "heartbeat_interval_ms"),),
        )


def _peers(config: Config) -> Iterator[Conflict]:
    peers = config.cluster.peers
    for peer, count in Counter(str(parse_address(peer)) for peer in peers).items():
        if count > 1:
            yield Conflict(key=("cluster", "peers"), reason=f"{peer} is listed {count} times", element=peer)
    own = parse_address(config.node.bind_address)
    advertised = config.node.advertise_address
    for peer in dict.fromkeys(peers):
        address = parse_address(peer)
        if address.is_wildcard:
            yield Conflict(
                key=("cluster", "peers"),
                reason=f"{peer!r} is no address that can be connected to: write the other node's own",
                element=peer,
            )
        elif _is_own(address, own, advertised):
            yield Conflict(
                key=("cluster", "peers"),
                reason=f"{peer!r} is this node itself: list the other nodes only",
                involves=(("node", "bind_address"), ("node", "advertise_address")),
                element=peer,
            )


def _is_own(peer: Address, own: Address, advertised: str | None) -> bool:
    if advertised is not None and peer == parse_address(advertised):
        return True
    if peer.port != own.port:
        return False
    return peer.host == own.host or (own.is_wildcard and advertised is None and is_this_machine(peer.host))


def _advertised(config: Config) -> Iterator[Conflict]:
    text = config.node.advertise_address
    if text is not None and parse_address(text).is_wildcard:
        yield Conflict(
            key=("node", "advertise_address"),
            reason=f"{text!r} is no address that other nodes can connect to: write this machine's own",
        )


def _listeners(config: Config) -> Iterator[Conflict]:
    listeners: list[tuple[Key, Address]] = [
        (("node", "bind_address"), parse_address(config.node.bind_address))
    ]
    if not config.node.witness and config.database.port is not None and config.database.is_managed:
        listeners.append((("database", "port"), Address(host="127.0.0.1", port=config.database.port)))
    elif (external := config.database_address) is not None:
        key = ("database", "port" if config.database.port is not None else "host")
        listeners.append((key, external))
    if config.proxy.enabled and not config.node.witness:
        listeners.append((("proxy", "bind_address"), parse_address(config.proxy.bind_address)))
    if config.api.enabled:
        listeners.append((("api", "bind_address"), parse_address(config.api.bind_address)))
    for position, (key, address) in enumerate(listeners):
        for other, taken in listeners[:position]:
            if address.overlaps(taken):
                # Blame the key that is written in the file rather than a default.
                blamed, owner = (key, other) if _is_given(config, key) else (other, key)
                yield Conflict(
                    key=blamed,
                    reason=f"port {address.port} is {'.'.join(owner)}'s too: each listener needs its own",
                    involves=(owner,),
                )


def _is_given(config: Config, key: Key) -> bool:
    return key[1] in getattr(config, key[0]).model_fields_set


def _database_mode(config: Config) -> Iterator[Conflict]:
    given = config.database.model_fields_set
    host = ("database", "host")
    if config.node.witness and given:
        key = "host" if "host" in given else sorted(given)[0]
        yield Conflict(
            key=("database", key),
            reason="a witness has no MariaDB: remove [database], or witness = true from [node]",
            involves=(("node", "witness"),),
        )
        return
    wrong, why = (
        (
            _EXTERNAL_ONLY,
            "is for an external server, and without host the node runs its own: set host or remove it",
        )
        if config.database.is_managed
        else (
            _MANAGED_ONLY,
            "is for a managed server, and with host the server has its own my.cnf: set it there",
        )
    )
    for key in wrong:
        if key in given:
            yield Conflict(key=("database", key), reason=why, involves=(host,))


def _external_database(config: Config) -> Iterator[Conflict]:
    database = config.database
    if database.is_managed or config.node.witness:
        return
    if database.password is None and database.password_file is None:
        yield Conflict(
            key=("database", "password"),
            reason="is missing: the node needs the password of its account on the external server "
            '(password, password_file, or password = "${NAME}")',
            involves=(("database", "password_file"), ("database", "host")),
        )
    commands = [key for key in _COMMANDS if getattr(database, key) is not None]
    if commands and database.systemd_unit is not None:
        yield Conflict(
            key=("database", commands[0]),
            reason="systemd_unit is given too: keep one of the two ways to start the server",
            involves=(("database", "systemd_unit"),),
        )
    elif commands and len(commands) < len(_COMMANDS):
        missing = [key for key in _COMMANDS if key not in commands]
        yield Conflict(
            key=("database", commands[0]),
            reason=f"needs {' and '.join(missing)} beside it",
            involves=tuple(("database", key) for key in missing),
        )


def _application(config: Config) -> Iterator[Conflict]:
    database = config.database
    passwords = ("application_password", "application_password_file")
    given = [key for key in passwords if getattr(database, key) is not None]
    if database.application_user is None:
        for key in given:
            yield Conflict(
                key=("database", key),
                reason="is the password of application_user, which is missing",
                involves=(("database", "application_user"),),
            )
        return
    if database.application_user == database.user:
        yield Conflict(
            key=("database", "application_user"),
            reason=f"{database.user!r} is the node's own account: give the application another",
            involves=(("database", "user"),),
        )
    if database.database is None:
        yield Conflict(
            key=("database", "application_user"),
            reason="is given all rights on `database`, which is missing",
            involves=(("database", "database"),),
        )
    if not given:
        yield Conflict(
            key=("database", "application_user"),
            reason="needs application_password or application_password_file beside it",
            involves=tuple(("database", key) for key in passwords),
        )


def _one_source(config: Config) -> Iterator[Conflict]:
    for section, key in (
        ("database", "password"),
        ("database", "application_password"),
        ("cluster", "secret"),
    ):
        values = getattr(config, section)
        if getattr(values, key) is not None and getattr(values, f"{key}_file") is not None:
            yield Conflict(
                key=(section, f"{key}_file"),
                reason=f"{key} is given too: keep one of the two",
                involves=((section, key),),
            )
        elif getattr(values, key) is not None and not getattr(values, key).get_secret_value():
            yield Conflict(key=(section, key), reason="must not be empty")


def _secret(config: Config) -> Iterator[Conflict]:
    secret = config.cluster.secret
    if secret is not None and 0 < len(secret.get_secret_value()) < MINIMUM_SECRET_CHARACTERS:
        yield Conflict(
            key=("cluster", "secret"),
            reason=f"has fewer than {MINIMUM_SECRET_CHARACTERS} characters: make one with "
            "`openssl rand -hex 32`",
        )


def _program(config: Config) -> Iterator[Conflict]:
    program = config.database.mariadbd
    if program is not None and not program.is_file():
        yield Conflict(key=("database", "mariadbd"), reason=f"there is no program {program}")


def _tls(config: Config) -> Iterator[Conflict]:
    yield from _together(config, "cluster", _TLS_FILES)
    for section in ("api", "proxy"):
        yield from _together(config, section, _SERVER_TLS_FILES)
        values = getattr(config, section)
        for key in (*_SERVER_TLS_FILES, "tls_names", "require_tls"):
            if getattr(values, key, None) and not values.tls:
                yield Conflict(
                    key=(section, key), reason="is of no use without tls = true", involves=((section, "tls"),)
                )
        if values.tls_names and values.tls_cert is not None:
            yield Conflict(
                key=(section, "tls_names"),
                reason="is for the certificate that the cluster makes, and tls_cert is given: keep one",
                involves=((section, "tls_cert"),),
            )


def _together(config: Config, section: str, keys: Sequence[str]) -> Iterator[Conflict]:
    """Files that make sense only all of them, and must be there."""
    values = getattr(config, section)
    given = [key for key in keys if getattr(values, key) is not None]
    if given and len(given) < len(keys):
        missing = [key for key in keys if key not in given]
        yield Conflict(
            key=(section, given[0]),
            reason=f"needs {' and '.join(missing)} beside it",
            involves=tuple((section, key) for key in missing),
        )
        return
    for key in given:
        if not getattr(values, key).is_file():
            yield Conflict(key=(section, key), reason=f"there is no file {getattr(values, key)}")


def _tokens(config: Config) -> Iterator[Conflict]:
    path = config.api.tokens_file
    if path is not None and not path.is_file():
        yield Conflict(key=("api", "tokens_file"), reason=f"there is no file {path}")


def _data_directories(config: Config) -> Iterator[Conflict]:
    ours, theirs = config.node.data_dir, config.database.data_dir
    if ours is None or theirs is None:
        return
    if ours == theirs or ours in theirs.parents or theirs in ours.parents:
        yield Conflict(
            key=("database", "data_dir"),
            reason=f"{theirs} and the node's own {ours} must not be within each other",
            involves=(("node", "data_dir"),),
        )


_RULES: tuple[Callable[[Config], Iterator[Conflict]], ...] = (
    _advertised,
    _peers,
    _timing,
    _listeners,
    _database_mode,
    _external_database,
    _application,
    _one_source,
    _secret,
    _tls,
    _program,
    _tokens,
    _data_directories,
)
