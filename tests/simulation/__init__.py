"""
The whole relay in a world of its own: virtual time, a gateway that misbehaves, machines that die.

Everything follows from one seed. There is no thread, no socket and no real time, so a seed that fails, fails again:
`python -m tests.simulation SEED -v` tells its story.

    clockwork.py   time: an event loop that never waits, and the clock of each process
    plan.py        what a seed means: limits, moods, how many workers and guests, what happens to them and when
    gateway.py     the far side, as a model; and the transports that reach it
    host.py        processes: a store's desk, a worker that relays as soon as it may, callers who submit
    verbs.py       what callers do; new verbs of the store belong here
    auditor.py     what must hold, seen from outside
    world.py       a seed from its beginning to its verdict
    mutants.py     our own code made wrong on purpose: each must be found out
"""
