"""The node's proxy worker processes."""

import trio

from wolfscale.api.models import ProxyStatus


class Workers:
    def __init__(self, config, node, parts) -> None: ...
    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()

    async def stop(self): ...
    def status(self):
        return ProxyStatus()
