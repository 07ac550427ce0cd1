"""
Whose turn it is, where guests compete for the same connects, windows or memory.

Inside a lane order of entry rules, and nothing else. Between lanes 0 goes before 9, but not for ever: a step of
priority is worth so many seconds of waiting. So the place in the line is a time, which is fixed when the part enters
its lane, and nobody has to be sorted anew as time passes.
"""

from __future__ import annotations

#: A part goes before another one of the next higher priority that entered its lane up to so many seconds earlier.
STEP_S = 60.0
#: Priority of what can wait.
LOWEST = 9


def turn_at(queued_at: float, priority: int) -> float:
    """
    Return the place in the line: lower goes first.

    Args:
        queued_at: When the part entered its lane, in seconds since the epoch.
        priority: 0 to 9.
    """
    return queued_at + STEP_S * priority
