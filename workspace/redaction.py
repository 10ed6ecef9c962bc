"""Addresses of servers and databases, and texts that quote them, without their credentials."""

import re

# A password may hold anything but a blank: SQLAlchemy takes "/" and "@" in it as they are. Where an address could be
# read both ways (http://host:80/a@b), too much is left out rather than too little.
_USER_AND_PASSWORD = re.compile(r"://(?:[^/\s'\"@:]*:\S*|[^/\s'\"]*)@")
_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:password|passwd|pwd|passphrase|token|secret|key|odbc_connect)=)[^&\s'\"]+")


def redact(text: str) -> str:
    """The text with the credentials of every URI in it, in its authority or its query, replaced by ``***``."""
    return _QUERY.sub(r"\1***", _USER_AND_PASSWORD.sub("://***@", text))
