"""The writes of this room, gathered from the files that know about them."""

from .canaries import plant_canaries, try_canaries
from .cutover import abort, arm, commit, seal
from .filter.doors import build_filter
from .gate.keys import create_api_key, revoke_api_key
from .gate.node import join_as_gate
from .imports import import_hashes
from .lease import join_as_node
from .lifts import lift
from .reset import redeem, request_reset, send_changed, send_reset
from .sign_in import log_in, log_out

__all__ = [
    "abort",
    "arm",
    "build_filter",
    "commit",
    "create_api_key",
    "import_hashes",
    "join_as_gate",
    "join_as_node",
    "lift",
    "log_in",
    "log_out",
    "plant_canaries",
    "redeem",
    "request_reset",
    "revoke_api_key",
    "seal",
    "send_changed",
    "send_reset",
    "try_canaries",
]
