"""The composition root: builds a node's or a proxy's parts, opens the one nursery, owns start and stop.

It imports everything and decides nothing: what happens when is in the packages that it connects.

Public API: `member.run`, `standalone.run_proxy`, `admin.admin_connection_info`.
"""
