"""One seed a session; every random stream is a named child of it.

Only this module makes generators, so that two streams can never share numbers by accident and
adding a stream never changes the others: a child depends on the session's seed and on its own
name, not on the order in which children are asked for.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return the random generator of `name` under the session's `seed`.

    Parameters
    ----------
    seed : int >= 0, the session's
    *name : what the stream is for, from general to special: ``("optimizer", "texture")``

    Returns
    -------
    numpy.random.Generator over PCG64; equal for equal arguments, on every machine
    """
    # Length-prefixed, so that ("a", "bc") and ("ab", "c") differ.
    text = "".join(f"{len(str(part))}:{type(part).__name__}:{part}" for part in name)
    # The seed's words, least first, and the name's: as SeedSequence makes them of a list of
    # integers, and many times as fast.
    seed = int(seed)
    if seed < 0:
        raise ValueError(f"seed must be at least 0; got {seed}")
    length = max(1, -(-seed.bit_length() // 32))
    entropy = seed.to_bytes(4 * length, "little") + hashlib.sha256(text.encode()).digest()
    sequence = np.random.SeedSequence(np.frombuffer(entropy, dtype="<u4"))
    return np.random.Generator(np.random.PCG64(sequence))
