"""How the tests' clients reach a cluster: PyMySQL, an independent client, through the nodes' proxies."""

from typing import TYPE_CHECKING, Any, TypeAlias

import pymysql
import pymysql.cursors

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK

if TYPE_CHECKING:
    from cluster_under_test import ClusterUnderTest

Client: TypeAlias = "pymysql.Connection[pymysql.cursors.Cursor]"

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 30


class Clients:
    """Opens connections; any thread may use it."""

    def __init__(self, cluster: "ClusterUnderTest") -> None:
        self._cluster = cluster

    def connect(
        self,
        number: int,
        *,
        user: str = ACCOUNT,
        password: str = PASSWORD,
        database: str | None = DATABASE,
        read_timeout: int = READ_TIMEOUT_SECONDS,
        **options: Any,
    ) -> Client:
        """A client of a node's proxy, autocommit on; blocks.

        Raises:
            pymysql.err.MySQLError: it cannot be reached, or refuses the log-in.
        """
        return pymysql.connect(
            host=LOOPBACK,
            port=self._cluster.node(number).mysql_port,
            user=user,
            password=password,
            database=database,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=read_timeout,
            write_timeout=read_timeout,
            **options,
        )
