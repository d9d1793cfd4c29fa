"""What is loaded last before processes are forked: the garbage collector leaves all else alone.

A collection in a forked process writes to every object there is, so that every page of what
was imported is copied; for a process that lives a second that was a third of its time.
"""

import gc

gc.collect()
gc.freeze()
