"""The writes of this room, gathered from the files that know about them."""

from .affected import ask_affected, send_affected
from .canaries import plant_canaries, try_canaries
from .codes import ask_letter, print_letters, request_letter
from .cutover import abort, arm, commit, seal
from .imports import import_hashes
from .lease import join_as_node
from .lifts import lift
from .post import start_life
from .reset import redeem, request_reset, send_changed, send_reset
from .sign_in import log_in, log_out

__all__ = [
    "abort",
    "arm",
    "ask_affected",
    "ask_letter",
    "commit",
    "import_hashes",
    "join_as_node",
    "lift",
    "log_in",
    "log_out",
    "plant_canaries",
    "print_letters",
    "redeem",
    "request_letter",
    "request_reset",
    "seal",
    "send_affected",
    "send_changed",
    "send_reset",
    "start_life",
    "try_canaries",
]
