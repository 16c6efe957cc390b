"""The writes of this room, gathered from the files that know about them."""

from .affected import ask_affected, send_affected
from .bearers import end_others, forget_bearer, issue_bearer, renew, revoke_bearer
from .canaries import plant_canaries, try_canaries
from .codes import ask_letter, print_letters, request_letter
from .cohorts import assign_cohort
from .connectors.delivery import deliver, enrol_accounts, watch
from .connectors.targets import abort as abort_connector
from .connectors.targets import arm as arm_connector
from .connectors.targets import drain as drain_connector
from .connectors.targets import drain_some, gate_late, lift_late, mind, set_secret
from .connectors.targets import gate as gate_connector
from .connectors.targets import probe as probe_connector
from .connectors.targets import verify as verify_connector
from .contacts import ask_contact_change, change_contact, confirm_contact_change, send_contact_link
from .cutover import abort
from .ending import arm_end_of_sign_ins, end_sign_ins, start_reset
from .erasure import erase, erase_due, erase_next, open_held
from .filter.doors import build_filter
from .gate.keys import create_api_key, revoke_api_key
from .gate.node import join_as_gate
from .imports import import_hashes
from .lease import join_as_node
from .lifts import lift
from .post import start_life
from .proof import arm, commit, seal, widen
from .reset import redeem, request_reset, send_changed, send_reset
from .room.gate import close_room, enter_form, keep_place, knock, may_send, open_room
from .room.limits import dead_link
from .room.writes import assisted_ticket, set_write_rate
from .second.factors import add_passkey, add_totp, end_session, new_codes, remove_factor
from .second.steps import answer_code, answer_passkey, sign_in_with_passkey
from .sign_in import begin_sign_in, log_in, log_out

__all__ = [
    "abort",
    "abort_connector",
    "add_passkey",
    "add_totp",
    "answer_code",
    "answer_passkey",
    "arm",
    "arm_connector",
    "arm_end_of_sign_ins",
    "ask_affected",
    "ask_contact_change",
    "ask_letter",
    "assign_cohort",
    "assisted_ticket",
    "begin_sign_in",
    "build_filter",
    "change_contact",
    "close_room",
    "commit",
    "confirm_contact_change",
    "create_api_key",
    "dead_link",
    "deliver",
    "drain_connector",
    "drain_some",
    "end_others",
    "end_session",
    "end_sign_ins",
    "enrol_accounts",
    "enter_form",
    "erase",
    "erase_due",
    "erase_next",
    "forget_bearer",
    "gate_connector",
    "gate_late",
    "import_hashes",
    "issue_bearer",
    "join_as_gate",
    "join_as_node",
    "keep_place",
    "knock",
    "lift",
    "lift_late",
    "log_in",
    "log_out",
    "may_send",
    "mind",
    "new_codes",
    "open_held",
    "open_room",
    "plant_canaries",
    "print_letters",
    "probe_connector",
    "redeem",
    "remove_factor",
    "renew",
    "request_letter",
    "request_reset",
    "revoke_api_key",
    "revoke_bearer",
    "seal",
    "send_affected",
    "send_changed",
    "send_contact_link",
    "send_reset",
    "set_secret",
    "set_write_rate",
    "sign_in_with_passkey",
    "start_life",
    "start_reset",
    "try_canaries",
    "verify_connector",
    "watch",
    "widen",
]
