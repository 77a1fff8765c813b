"""Prefect's settings for a build on one machine: no server to set up, no noise.

The package imports this before prefect. Whatever the environment already says is respected, so
a build with PREFECT_API_URL set reports to that server.
"""

from __future__ import annotations

import logging
import os

_QUIET = {
    # A temporary server migrates its database first: 20 to 30 s on a new machine, not prefect's 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Its shutdown logs "Error flushing" and "database is locked", which harm nothing.
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # A failed task's traceback would come before our one sentence.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    # Interrupted, it prints every event that it could no longer send.
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # An interrupted build's process that tidies up after it tells what it tidied.
    "PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker",
}

for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)

# These two warn at exit, through the root logger, when a last event is still being sent.
for _name in ("EventsWorker", "APILogWorker"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
