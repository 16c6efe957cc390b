"""The writes of this room, gathered from the files that know about them."""

from .canaries import plant_canaries, try_canaries
from .cohorts import assign_cohort
from .contacts import ask_contact_change, change_contact, confirm_contact_change, send_contact_link
from .cutover import abort, arm, commit, seal, widen
from .erasure import erase, erase_due, erase_next
from .imports import import_hashes
from .lease import join_as_node
from .lifts import lift
from .reset import redeem, request_reset, send_changed, send_reset
from .sign_in import log_in, log_out

__all__ = [
    "abort",
    "arm",
    "ask_contact_change",
    "assign_cohort",
    "change_contact",
    "commit",
    "confirm_contact_change",
    "erase",
    "erase_due",
    "erase_next",
    "import_hashes",
    "join_as_node",
    "lift",
    "log_in",
    "log_out",
    "plant_canaries",
    "redeem",
    "request_reset",
    "seal",
    "send_changed",
    "send_contact_link",
    "send_reset",
    "try_canaries",
    "widen",
]
