"""One node, from its configuration to its end: the parts, the order of their start, and of their stop."""

import functools
import secrets
import signal
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from prometheus_client import CollectorRegistry

from wolfscale import __version__, logs
from wolfscale.api.models import ProxyStatus
from wolfscale.api.requests import RequestCounts
from wolfscale.api.server import ServerOptions, bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.app.admin import DatabaseAccess, save_database_access
from wolfscale.app.announcement import Announcement
from wolfscale.app.api_account import USER as API_USER
from wolfscale.app.api_account import api_account, keep_account
from wolfscale.app.cluster import NodeCluster
from wolfscale.app.database import build_server
from wolfscale.app.founding import check_not_founded_before, keep_note
from wolfscale.app.gateway import Gateway
from wolfscale.app.global_settings import GlobalSettingCalls
from wolfscale.app.http_access import http_options
from wolfscale.app.identity import certificate_files, cluster_secret, lock_data_directory, node_account
from wolfscale.app.ids import NodeIds, NodePlace
from wolfscale.app.intents import IntentCalls
from wolfscale.app.observation.metrics.registry import build_registry
from wolfscale.app.observation.recorder import Recorder
from wolfscale.app.programs import watch_programs
from wolfscale.app.questions import NodeQuestions
from wolfscale.app.retention import keep_log_short
from wolfscale.app.session_calls import SessionCalls
from wolfscale.app.sessions import relay_session
from wolfscale.app.status import NodeStatusSource
from wolfscale.app.switch_over import SwitchOvers
from wolfscale.app.views import ViewPublisher
from wolfscale.app.workers import Workers, bind_clients
from wolfscale.config import Config
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.node.node import Node
from wolfscale.node.options import NodeOptions
from wolfscale.node.storage import RaftStorage
from wolfscale.proxy.acknowledged import Acknowledged, shared_memory
from wolfscale.raft.types import Suffrage
from wolfscale.replication.application import Application
from wolfscale.replication.clone import serve_clone
from wolfscale.replication.database import Database
from wolfscale.replication.entry import sequence_of
from wolfscale.replication.feed import Feed
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.lifecycle import PUBLISH_SECONDS, Lifecycle
from wolfscale.replication.notice import MemberNotice, encode_notice
from wolfscale.replication.positions import newest_group
from wolfscale.replication.record import RecordStore
from wolfscale.replication.roles import DatabaseState
from wolfscale.replication.server import Account
from wolfscale.wal import WalOptions

log = logs.logger(__name__)

FEED_USER = "wolfscale_feed"
STOP_SECONDS = 60.0
STEP_DOWN_SECONDS = 20.0
RETRY_SECONDS = 1.0


def run(config: Config, *, bootstrap: bool, note: Path) -> int:
    """Run a node until SIGTERM or SIGINT; returns the process's exit code.

    Args:
        config: the node's configuration.
        bootstrap: whether it may found a cluster.
        note: see `wolfscale.app.founding`.

    Raises:
        WolfScaleError: what kept it from running, or made it stop.
        OSError: a directory or an address cannot be used.
    """
    return trio.run(_run, config, bootstrap, note)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseParts:
    """What a node with a MariaDB has and a witness has not."""

    database: Database
    feed: Feed
    lifecycle: Lifecycle
    intents: IntentMarks


async def _run(config: Config, bootstrap: bool, note: Path) -> int:
    if bootstrap:
        check_not_founded_before(note, config.data_dir)
    lock_data_directory(config.data_dir)
    secret = cluster_secret(config, bootstrap=bootstrap)
    logs.hide(secret.value.decode(errors="replace"))
    if secret.created:
        log.info("made the cluster's secret: other nodes need a copy of this file", path=secret.path)
    storage = RaftStorage.open(
        config.data_dir,
        wal_options=WalOptions(
            compression=config.wal.compression,
            segment_bytes=config.wal.segment_size_mb << 20,
            fsync=config.wal.fsync,
        ),
        key_of=sequence_of,
    )
    node = await Node.create(
        NodeOptions(
            name=config.node.id,
            data_dir=config.data_dir,
            bind_address=config.node.bind_address,
            secret=secret,
            advertise_address=config.advertised_address(),
            peers=config.cluster.peers,
            bootstrap=bootstrap,
            suffrage=Suffrage.WITNESS if config.node.witness else Suffrage.VOTER,
            heartbeat_interval=config.cluster.heartbeat_interval_ms / 1000,
            election_timeout=config.cluster.election_timeout_ms / 1000,
            certificates=certificate_files(config),
        ),
        storage=storage,
    )
    account = node_account(config, secret.value)
    logs.hide(account.password)
    announcement = Announcement(config)
    parts = _database_parts(config, node, account, announcement, secret.value)
    try:
        return await _Member(config, node, storage, parts, announcement, secret.value, note).run()
    finally:
        storage.close()


def _database_parts(
    config: Config, node: Node, account: Account, announcement: Announcement, secret: bytes
) -> DatabaseParts | None:
    server = build_server(config, account, secret)
    if server is None:
        return None
    database = Database(server)
    records = RecordStore.open(config.data_dir / "database-record")
    intents = IntentMarks(records)
    login = Account(user=FEED_USER, password=secrets.token_hex(16))

    async def before_not_plain(gtid: Gtid, index: int) -> None:
        await lifecycle.served_groups.before_not_plain(gtid, index)

    async def after_not_plain(gtid: Gtid, index: int) -> None:
        await lifecycle.served_groups.after_not_plain(gtid, index)

    feed = Feed(
        node.log,
        user=login.user,
        password=login.password,
        before_not_plain=before_not_plain,
        after_not_plain=after_not_plain,
    )
    lifecycle = Lifecycle(
        cluster=NodeCluster(node, complete=announcement.complete),
        database=database,
        records=records,
        feed=feed,
        feed_login=login,
        intents=intents,
        application=_application(config),
        probe_seconds=config.cluster.election_timeout_ms / 1000,
        founds=lambda: _is_founder(node),
    )
    save_database_access(
        config.data_dir,
        DatabaseAccess(socket_path=server.socket_path, user=account.user, password=account.password),
    )
    return DatabaseParts(database=database, feed=feed, lifecycle=lifecycle, intents=intents)


def _application(config: Config) -> Application:
    database = config.database
    password = database.application_password
    return Application(
        database=database.database,
        user=database.application_user,
        password=password.get_secret_value() if password is not None else "",
        cluster_accounts=(API_USER,),
    )


def _is_founder(node: Node) -> bool:
    """Whether this node is its cluster's first and only member and nothing was ever written."""
    members = node.membership.members
    alone = len(members) == 1 and members[0].id == node.id
    return alone and newest_group(node.log, node.log.commit_index) is None


class _Member:
    """A node's running parts; lives inside one call of `run`."""

    def __init__(
        self,
        config: Config,
        node: Node,
        storage: RaftStorage,
        parts: DatabaseParts | None,
        announcement: Announcement,
        secret: bytes,
        note: Path,
    ) -> None:
        self._config = config
        self._announcement = announcement
        self._note = note
        self._storage = storage
        self._node = node
        self._parts = parts
        self._stopping = trio.Event()
        self._http_options = http_options(config, secret) if config.api.enabled else ServerOptions()
        self._ids = NodeIds(NodePlace(node), config.data_dir)
        self._workers: Workers | None = None
        self._status = NodeStatusSource(node, self._notice, self._proxy_status)
        self._recorder = Recorder(
            node=node,
            storage=storage,
            lifecycle=parts.lifecycle if parts is not None else None,
            proxy=self._proxy_status,
            announcement=announcement,
        )
        self._publisher = publisher = ViewPublisher(
            node, parts.database if parts else None, parts.lifecycle if parts else None
        )
        intents = IntentCalls(node, parts.lifecycle if parts else None)
        self._switch_overs = SwitchOvers(node, parts.lifecycle if parts else None, publisher.views)
        self._api_account = api_account(secret)
        logs.hide(self._api_account.password)
        memory = (
            shared_memory(1 + config.proxy.workers) if parts is not None and config.proxy.enabled else None
        )
        self._gateway = Gateway(
            node=node,
            views=publisher.views,
            acknowledged=Acknowledged(memory),
            intents=intents,
            account=self._api_account,
            default_database=config.database.database,
            node_account=config.database.user,
            write_wait_seconds=config.proxy.write_wait_ms / 1000,
            read_wait_seconds=config.proxy.read_wait_ms / 1000,
        )
        if parts is not None:
            if memory is not None:
                self._workers = Workers(
                    config=config,
                    secret=secret,
                    listener=bind_clients(config.proxy.bind_address),
                    publisher=publisher,
                    acknowledged_descriptor=memory,
                    database=parts.database,
                    intents=intents,
                    settings=GlobalSettingCalls(node, parts.lifecycle),
                    sessions=SessionCalls(node, parts.lifecycle),
                    ids=self._ids,
                    questions=NodeQuestions(self._status.status, self._gateway.confirmed_sequence),
                )
                node.handle_stream("watch", self._workers.watch)
            node.handle_stream("clone", self._serve_clone)
            node.handle_stream("session", self._serve_session)
            node.handle_stream("read-session", self._serve_read_session)

    async def run(self) -> int:
        """Run everything until a signal or a failure, then stop it in order."""
        http = bind_http(self._config.api.bind_address) if self._config.api.enabled else None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_signals)
            async with self._services(nursery, http):
                await self._stopping.wait()
                told = trio.current_time()
            nursery.cancel_scope.cancel()
        log.info("stopped", node=self._node.id, seconds=round(trio.current_time() - told, 3))
        return 0

    @asynccontextmanager
    async def _services(self, nursery: trio.Nursery, http: sockets.socket | None) -> AsyncIterator[None]:
        """Start in the order in which the parts need each other, stop in the reverse one."""
        await nursery.start(self._recorder.run)
        if http is not None:
            requests = RequestCounts()
            services = Services(
                status=self._status,
                ids=self._ids,
                history=self._recorder,
                metrics=self._metrics(requests),
                requests=requests,
                sql=self._gateway,
                leader=self._switch_overs,
            )
            nursery.start_soon(self._gateway.run)
            await nursery.start(
                functools.partial(
                    serve_http, services, http, stop=trio.sleep_forever, options=self._http_options
                )
            )
        await nursery.start(self._node.run)
        nursery.start_soon(self._publisher.run)
        nursery.start_soon(self._ids.run)
        nursery.start_soon(keep_note, self._node, self._note)
        if self._parts is None:
            nursery.start_soon(self._be_witness)
            nursery.start_soon(self._announce_witness)
        lifecycle_scope = trio.CancelScope()
        lifecycle_ended = trio.Event()
        if self._parts is not None:
            await nursery.start(self._parts.feed.run)
            nursery.start_soon(self._keep_log_short, self._parts.lifecycle)
            nursery.start_soon(keep_account, self._parts.database, self._parts.lifecycle, self._api_account)
            nursery.start_soon(
                watch_programs, self._parts.database, self._parts.lifecycle, self._config.database.user
            )
            nursery.start_soon(self._run_lifecycle, self._parts.lifecycle, lifecycle_scope, lifecycle_ended)
        workers_scope = trio.CancelScope()
        if self._workers is not None:
            nursery.start_soon(self._run_workers, self._workers, workers_scope)
        log.info(
            "started",
            node=self._node.id,
            version=__version__,
            database=self._config.database_mode.value,
            data_dir=self._config.data_dir,
            clients=self._config.proxy.bind_address if self._workers is not None else None,
            http=self._config.api.bind_address if http is not None else None,
        )
        try:
            yield
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_SECONDS):
                await self._stop(lifecycle_scope, lifecycle_ended, workers_scope)

    async def _be_witness(self) -> None:
        """A witness has no data to wait for: it says so, and asks for its vote."""
        cluster, refusals = NodeCluster(self._node), logs.Repetition()
        while not cluster.is_voter:
            try:
                await cluster.report_ready()
            except WolfScaleError as error:
                if times := refusals.times(str(error)):
                    log.info("not a witness yet", reason=str(error), times=times)
                await trio.sleep(RETRY_SECONDS)

    async def _announce_witness(self) -> None:
        while True:
            self._node.publish(encode_notice(self._notice()))
            await trio.sleep(PUBLISH_SECONDS)

    async def _run_lifecycle(self, lifecycle: Lifecycle, scope: trio.CancelScope, ended: trio.Event) -> None:
        try:
            with scope:
                await lifecycle.run()
        finally:
            ended.set()

    async def _keep_log_short(self, lifecycle: Lifecycle) -> None:
        await keep_log_short(
            self._node,
            self._storage,
            NodeCluster(self._node),
            lifecycle,
            retention_hours=self._config.wal.retention_hours,
        )

    async def _run_workers(self, workers: Workers, scope: trio.CancelScope) -> None:
        with scope:
            await workers.run()

    async def _stop(
        self,
        lifecycle_scope: trio.CancelScope,
        lifecycle_ended: trio.Event,
        workers_scope: trio.CancelScope,
    ) -> None:
        """Give leadership away, end the sessions, stop MariaDB in good order; the node itself goes last."""
        parts = self._parts
        log.info("stopping", node=self._node.id)
        if parts is None:
            return
        lifecycle = parts.lifecycle
        if lifecycle.state is DatabaseState.PRIMARY and NodeCluster(self._node).votes_elsewhere:
            lifecycle.step_down()
            with trio.move_on_after(STEP_DOWN_SECONDS):
                await lifecycle.changes.wait_until(
                    lambda: lifecycle.tenure is None and not self._node.is_leader
                )
        workers_scope.cancel()
        lifecycle_scope.cancel()
        await lifecycle_ended.wait()
        await lifecycle.stop()

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for number in received:
                log.info("told to stop", signal=signal.Signals(number).name)
                self._stopping.set()

    async def _serve_clone(self, _kind: str, _header: bytes, stream: trio.abc.Stream) -> None:
        parts = self._parts
        assert parts is not None
        try:
            started = trio.current_time()
            size = await serve_clone(parts.database, stream, tenure=lambda: parts.lifecycle.tenure)
            seconds = round(trio.current_time() - started, 3)
            log.info("gave a clone to a peer", bytes=size, seconds=seconds)
            parts.lifecycle.statistics.clones_given += 1
        except (WolfScaleError, OSError, trio.BrokenResourceError) as error:
            log.warning("a clone for a peer failed", reason=str(error))

    async def _serve_session(self, _kind: str, header: bytes, stream: trio.abc.Stream) -> None:
        """A session on the leader's MariaDB, which is this one."""
        parts = self._parts
        assert parts is not None
        await self._relay_session(parts, header, stream, serves=parts.lifecycle.writable)

    async def _serve_read_session(self, _kind: str, header: bytes, stream: trio.abc.Stream) -> None:
        """A session on this node's MariaDB, which the proxy keeps to reads as one beside it does."""
        parts = self._parts
        assert parts is not None
        await self._relay_session(parts, header, stream, serves=parts.lifecycle.serving)

    async def _relay_session(
        self, parts: DatabaseParts, header: bytes, stream: trio.abc.Stream, *, serves: bool
    ) -> None:
        if not serves:
            await trio.aclose_forcefully(stream)
            return
        try:
            await relay_session(stream, parts.database.socket_path, header)
        except OSError as error:
            log.warning("a peer's session could not reach MariaDB", reason=str(error))

    def _metrics(self, requests: RequestCounts) -> CollectorRegistry:
        parts = self._parts
        return build_registry(
            node=self._node,
            storage=self._storage,
            database=(parts.lifecycle, parts.feed) if parts is not None else None,
            notice=self._notice,
            status=self._status,
            requests=requests,
            ids_given=lambda: self._ids.given,
        )

    def _notice(self) -> MemberNotice:
        if self._parts is None:
            return self._announcement.complete(MemberNotice(state=DatabaseState.NONE))
        return self._announcement.complete(self._parts.lifecycle.notice())

    def _proxy_status(self) -> ProxyStatus | None:
        return self._workers.status() if self._workers is not None else None
