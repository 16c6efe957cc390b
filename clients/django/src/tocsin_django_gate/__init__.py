"""Django asks Tocsin's gate: no old password and no old session lets anybody in after a cutover.

    client.py       one question over HTTP, on a connection that is kept; whatever goes wrong is "no"
    backends.py     TocsinGateBackend: stands first in AUTHENTICATION_BACKENDS, before the backends that know the passwords
    middleware.py   TocsinGateMiddleware: ends sessions that are older than the cutover, and says so when the gate cannot be asked
    tokens.py       user_passes_gate: the question for views that authenticate by a token in a header, which no middleware sees

Settings: TOCSIN_GATE_URL, TOCSIN_GATE_KEY; optional TOCSIN_GATE_TIMEOUT_S (0.3), TOCSIN_GATE_SUBJECT (dotted path of a function from a user to
the customer number that Tocsin knows; default: the primary key), TOCSIN_GATE_EXEMPT (dotted path of a function that tells which users Tocsin
does not look after, such as staff; default: nobody is exempt), TOCSIN_GATE_SESSION_S (for how long an answer about a session may be remembered;
1 second by default, and never longer than the gate's own lease).
"""
