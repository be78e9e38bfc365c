"""A proxy in a process of its own, whose memory can be measured: `python proxy_process.py SOCKET [tls]`.

Stands on a follower whose MariaDB is behind the socket. Prints its port, and serves until it is killed.
"""

import socket
import sys
from collections.abc import Mapping, Sequence

import trio
from proxy_pair import PASSWORD

from wolfscale.certificates import ServerCertificate
from wolfscale.mysql.auth import double_sha1, sha1_of_password, stored_hash
from wolfscale.mysql.constants import NATIVE_PASSWORD
from wolfscale.proxy.accounts import Account, Method
from wolfscale.proxy.client_tls import ClientTls
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.listener import Listener
from wolfscale.proxy.view import View, Views
from wolfscale.sockets import open_unix_stream


class OneServer:
    """`Backends` of a proxy that knows one server."""

    def __init__(self, path: str) -> None:
        self.views = Views()
        self.views.update(View(term=1, writable=True, database_ready=True))
        self._path = path

    def choose(self) -> bool:
        return False

    def avoid(self) -> bool:
        return False

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        stream = await open_unix_stream(self._path)
        await stream.send_all(proxy_header)
        return stream

    open_leader = open_local

    async def accounts(self, user: str) -> Sequence[Account]:
        stored = stored_hash(double_sha1(sha1_of_password(PASSWORD)))
        return [Account(user=user, host="%", methods=(Method(NATIVE_PASSWORD, stored),))]

    async def intent_begin(self, connection_id: int) -> None:
        pass

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        pass

    async def members(self) -> Sequence[Mapping[str, str]]:
        return []

    async def read_position(self) -> int:
        return 0

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        pass

    async def settings(self) -> Sequence[Mapping[str, str]]:
        return []

    async def kill(self, call: KillCall) -> Killed:
        return Killed()

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        return True

    async def is_applying_blocked(self) -> bool:
        return False

    async def sessions(self) -> list[dict[str, str]]:
        return []

    async def take_ids(self, count: int) -> list[int]:
        return list(range(count))


async def main(path: str, tls: ClientTls | None = None) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
    listener = Listener(OneServer(path), bounds=Bounds(log_in_seconds=60), tls=tls)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, [listening])
        print(listening.getsockname()[1], flush=True)


if __name__ == "__main__":
    certificate = ServerCertificate.from_secret(b"a secret of sixteen", "n", ("127.0.0.1",))
    trio.run(main, sys.argv[1], ClientTls(context=certificate.context()) if sys.argv[2:] == ["tls"] else None)
