"""A headless Chromium for tests, driven by its DevTools protocol over two pipes: no port, no driver program.

The process outlives one `trio.run`, so that the tests of a module share it; each page has a profile of its
own and remembers what went wrong in it and what it asked for.
"""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from wolfscale.testing.devtools import ChromiumError, Json, PageLeft, Wire, WireState, open_wire

PATIENCE_SECONDS = 60.0
"""For whatever a page is waited for; a machine that stalls is no failure."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it refuses to run as root with it
    "--disable-dev-shm-usage",  # containers have 64 MiB there
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)
# Chromium takes its commands from descriptor 3 and answers on 4; ours must be out of the way of both.
_LOWEST_DESCRIPTOR = 10
_PIPES = 'exec "$@" 3<&{commands} 4>&{answers}'


def find_chromium() -> str | None:
    """The path of an installed Chromium; None without one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Chromium:
    """The browser's process; `close` ends it and removes its files."""

    def __init__(self, binary: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="wolfscale-chromium-"))
        commands_in, self._commands = _pipe()
        self._answers, answers_out = _pipe()
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "bash",
                    "-c",
                    _PIPES.format(commands=commands_in, answers=answers_out),
                    "chromium",
                    binary,
                    *_FLAGS,
                    f"--user-data-dir={self._directory / 'profile'}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(commands_in, answers_out),
                start_new_session=True,
                env={**os.environ, "HOME": str(self._directory), "TMPDIR": str(self._directory)},
            )
        os.close(commands_in)
        os.close(answers_out)
        self._state = WireState()
        self._wire: Wire | None = None

    def close(self) -> None:
        """End the browser, whatever it is doing."""
        os.close(self._commands)
        os.close(self._answers)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @asynccontextmanager
    async def open_page(
        self,
        *,
        width: int = 1280,
        height: int = 900,
        scale: float = 1,
        dark: bool = False,
        touch: bool = False,
    ) -> AsyncIterator["Page"]:
        """An empty page with a profile of its own, gone after the block; further ones may be opened within.

        Args:
            width: of the window, in CSS pixels.
            height: likewise.
            scale: device pixels in a CSS pixel.
            dark: whether its user prefers dark pages.
            touch: whether it is a phone.
        """
        async with self._connected() as wire:
            with trio.fail_after(PATIENCE_SECONDS):
                context = (await wire.ask("Target.createBrowserContext", {}))["browserContextId"]
                target = await wire.ask(
                    "Target.createTarget", {"url": "about:blank", "browserContextId": context}
                )
                attached = await wire.ask(
                    "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
                )
                page = Page(wire, attached["sessionId"])
                await page.prepare(width=width, height=height, scale=scale, dark=dark, touch=touch)
            try:
                yield page
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(PATIENCE_SECONDS):
                    await wire.ask("Target.disposeBrowserContext", {"browserContextId": context})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Wire]:
        """The wire of the page around this one; the outermost page opens it."""
        if self._wire is not None:
            yield self._wire
            return
        async with open_wire(self._commands, self._answers, self._state) as self._wire:
            try:
                yield self._wire
            finally:
                self._wire = None


def _pipe() -> tuple[int, int]:
    """A pipe whose ends no child inherits unless it is told to."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that a page made.

    Attributes:
        headers: by lower-case name, as the page set them.
    """

    url: str
    method: str
    headers: dict[str, str]


class Page:
    """One page: what it shows, and what it has done.

    Attributes:
        complaints: errors and warnings in its console, uncaught exceptions, what its policy forbade.
        requests: everything that it has asked for, in order.
        statuses: the HTTP status of each answer, by URL, the newest.
    """

    def __init__(self, wire: Wire, session: str) -> None:
        self._wire = wire
        self._session = session
        self._loaded = trio.Event()
        self._network_changed = False
        self.complaints: list[str] = []
        self.requests: list[Asked] = []
        self.statuses: dict[str, int] = {}
        wire.listeners[session] = self.on_event

    async def prepare(self, *, width: int, height: int, scale: float, dark: bool, touch: bool) -> None:
        """Size, scheme and what shall be told."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.command(f"{domain}.enable")
        await self.resize(width, height, scale=scale, touch=touch)
        await self.prefer(dark=dark)

    async def command(self, method: str, **parameters: Any) -> Json:
        """Send a command of the DevTools protocol to this page."""
        return await self._wire.ask(method, parameters, self._session)

    async def resize(self, width: int, height: int, *, scale: float = 1, touch: bool = False) -> None:
        """Give the window another size."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=touch,
        )
        await self.command("Emulation.setTouchEmulationEnabled", enabled=touch)

    async def prefer(self, *, dark: bool) -> None:
        """Choose what the user prefers; motion is always reduced, so that pictures are of a moment."""
        scheme = "dark" if dark else "light"
        features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]
        await self.command(
            "Emulation.setEmulatedMedia",
            features=[{"name": name, "value": value} for name, value in features],
        )

    async def goto(self, url: str) -> None:
        """Open a page and wait until it is loaded.

        Raises:
            ChromiumError: nobody answers there.
        """
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                self._loaded, self._network_changed = trio.Event(), False
                answer = await self.command("Page.navigate", url=url)
                if _NETWORK_CHANGED in answer.get("errorText", ""):
                    continue
                if "errorText" in answer:
                    raise ChromiumError(f"{url}: {answer['errorText']}")
                await self._loaded.wait()
                if not self._network_changed:
                    return

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited when it is a promise.

        Raises:
            ChromiumError: it threw.
        """
        answer = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise ChromiumError(_thrown(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def wait_until(self, expression: str) -> Any:
        """Evaluate an expression until it is true; returns its value.

        Raises:
            AssertionError: it never was; says what the page shows instead.
        """
        with trio.move_on_after(PATIENCE_SECONDS):
            while True:
                with suppress(PageLeft):
                    if value := await self.evaluate(expression):
                        return value
                await trio.sleep(0.05)
        shown = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {expression}\nthe page shows:\n{shown}")

    async def text(self, selector: str) -> str:
        """What an element shows; empty when there is none."""
        texts = await self.texts(selector)
        return texts[0] if texts else ""

    async def texts(self, selector: str) -> list[str]:
        """What all elements of a kind show."""
        found = await self.evaluate(
            f"Array.from(document.querySelectorAll({json.dumps(selector)}), (found) => {_TEXT})"
        )
        return [str(text) for text in found]

    async def point_at(self, selector: str, *, across: float = 0.5) -> None:
        """Move the mouse over an element, as far across it as told (0 to 1)."""
        x, y = await self._place(selector, across)
        await self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def touch(self, selector: str, *, across: float = 0.5) -> None:
        """Put a finger on an element and take it away."""
        x, y = await self._place(selector, across)
        await self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        await self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, by their names, as in `Tab` and `ArrowLeft`."""
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                await self.command(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    code=key,
                    windowsVirtualKeyCode=_KEY_CODES.get(key, 0),
                    text="\r" if key == "Enter" and kind == "keyDown" else "",
                )

    async def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        await self.command("Input.insertText", text=text)

    async def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        answer = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def _place(self, selector: str, across: float) -> tuple[float, float]:
        box = await self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'nearest'}); const box = found.getBoundingClientRect();"
            "return [box.x, box.y, box.width, box.height]; })()"
        )
        return box[0] + box[2] * across, box[1] + box[3] / 2

    def on_event(self, method: str, parameters: Json) -> None:
        """Take note of what the browser tells."""
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning", "assert"}:
                self.complaints.append(_console_text(parameters["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(_thrown(parameters["exceptionDetails"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in {"error", "warning"}:
                entry = parameters["entry"]
                if _NETWORK_CHANGED in entry["text"]:
                    self._network_changed = True
                    return
                self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
            case "Network.requestWillBeSent":
                request = parameters["request"]
                headers = {name.lower(): value for name, value in request["headers"].items()}
                self.requests.append(Asked(url=request["url"], method=request["method"], headers=headers))
            case "Network.responseReceived":
                self.statuses[parameters["response"]["url"]] = parameters["response"]["status"]


# Chromium gives up what it is loading when any network interface of the machine comes or goes.
_NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
# Elements of SVG have no innerText.
_TEXT = "found.innerText ?? found.textContent"
_KEY_CODES = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "PageUp": 33,
    "PageDown": 34,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowRight": 39,
}


def _console_text(arguments: Sequence[Json]) -> str:
    return " ".join(str(value.get("description", value.get("value"))) for value in arguments)


def _thrown(details: Json) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))
