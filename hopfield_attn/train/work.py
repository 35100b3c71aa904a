"""Whether a command has begun what takes time: what fails after that was not asked for wrongly."""

import threading

WORK_BEGUN = threading.Event()
"""Set by the first step or batch that is done; cleared by a command before it checks anything."""
