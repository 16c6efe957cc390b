"""The writes of this room, gathered from the files that know about them."""

from .canaries import plant_canaries, try_canaries
from .connectors.delivery import deliver, enrol_accounts, watch
from .connectors.targets import abort as abort_connector
from .connectors.targets import arm as arm_connector
from .connectors.targets import drain as drain_connector
from .connectors.targets import drain_some, gate_late, lift_late, mind, set_secret
from .connectors.targets import gate as gate_connector
from .connectors.targets import probe as probe_connector
from .connectors.targets import verify as verify_connector
from .cutover import abort, arm, commit, seal
from .imports import import_hashes
from .lease import join_as_node
from .lifts import lift
from .reset import redeem, request_reset, send_changed, send_reset
from .sign_in import log_in, log_out

__all__ = [
    "abort",
    "abort_connector",
    "arm",
    "arm_connector",
    "commit",
    "deliver",
    "drain_connector",
    "drain_some",
    "enrol_accounts",
    "gate_connector",
    "gate_late",
    "import_hashes",
    "join_as_node",
    "lift",
    "lift_late",
    "log_in",
    "log_out",
    "mind",
    "plant_canaries",
    "probe_connector",
    "redeem",
    "request_reset",
    "seal",
    "send_changed",
    "send_reset",
    "set_secret",
    "try_canaries",
    "verify_connector",
    "watch",
]
