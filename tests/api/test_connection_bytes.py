"""No bytes that a client sends harm the server: it answers or hangs up, complains of nothing, and goes on."""

import logging

import pytest
import trio
from api_serving import connect, exchange, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from wolfscale.api.server import ServerOptions

PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"GET /health HTTP/1.1\r\n",
            b"POST /query HTTP/1.1\r\n",
            b"HEAD / HTTP/1.0\r\n",
            b"OPTIONS * HTTP/1.1\r\n",
            b"GET http://localhost/health HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"Host: localhost\r\n",
            b"Host: evil.example\r\n",
            b"Content-Type: application/json\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: 99999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            b"Connection: close\r\n",
            b"Expect: 100-continue\r\n",
            b"Authorization: Bearer \xff\xfe\r\n",
            b"Origin: \x80\r\n",
            b"\r\n",
            b"5\r\nhello\r\n",
            b"0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"{}",
            b"\x16\x03\x01\x02\x00",
        ]
    ),
)


@given(st.lists(st.lists(PIECES, max_size=8).map(b"".join), min_size=1, max_size=4))
@settings(max_examples=40)
def test_no_bytes_harm_the_server(caplog: pytest.LogCaptureFixture, connections: list[bytes]) -> None:
    caplog.clear()
    caplog.set_level(logging.WARNING)

    async def send(port: int, data: bytes) -> None:
        async with await connect(port) as stream:
            try:
                await stream.send_all(data)
                await stream.send_eof()
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass

    async def attack() -> None:
        async with serving(ServerOptions(body_bytes=100)) as port:
            async with trio.open_nursery() as nursery:
                for data in connections:
                    nursery.start_soon(send, port, data)
            assert (await exchange(port, "GET", "/health")).status == 200

    trio.run(attack)
    assert caplog.text == ""
