"""The writes of this room, gathered from the files that know about them."""

from .canaries import plant_canaries, try_canaries
from .cutover import abort, arm, commit, seal
from .imports import import_hashes
from .lease import join_as_node
from .lifts import lift
from .reset import redeem, request_reset, send_changed, send_reset
from .room.gate import close_room, enter_form, keep_place, knock, may_send, open_room
from .room.writes import assisted_ticket, set_write_rate
from .sign_in import log_in, log_out

__all__ = [
    "abort",
    "arm",
    "assisted_ticket",
    "close_room",
    "commit",
    "enter_form",
    "import_hashes",
    "join_as_node",
    "keep_place",
    "knock",
    "lift",
    "log_in",
    "log_out",
    "may_send",
    "open_room",
    "plant_canaries",
    "redeem",
    "request_reset",
    "seal",
    "send_changed",
    "send_reset",
    "set_write_rate",
    "try_canaries",
]
