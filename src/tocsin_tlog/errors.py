"""What can go wrong with a log, as one small tree.

TlogError
  Malformed    text or bytes do not follow their format
  Unverified   well-formed, but a hash or a signature does not hold
  Damaged      the files of a log contradict each other or lost acknowledged leaves: a person must look, nothing is repaired silently
  Locked       another process is the writer of this log
  NoSuchTile   no such resource in the published tree (HTTP 404)
"""


class TlogError(Exception):
    """Any failure of this package that is not a defect of its own."""


class Malformed(TlogError):
    """Text or bytes do not follow their format."""


class Unverified(TlogError):
    """Well-formed, but a hash or a signature does not hold."""


class Damaged(TlogError):
    """The files of a log contradict each other, or leaves that were acknowledged are gone."""


class Locked(TlogError):
    """Another process is the writer of this log."""


class NoSuchTile(TlogError):
    """The published tree has no such resource."""
