"""HTTP in, one action or query, HTML out. No tables, no rules of its own.

`console/` serves the response team, `public/` the customers; each runs in a process of its own, with its own secret and database role.
`errors.py` turns the one error vocabulary (kernel/errors.py) into statuses and pages for both. Pages work without JavaScript, ask nothing
of third parties, and hold no inline script or style, so that the content policy can forbid both.
"""
