"""Many simulated sessions that differ in a few keys of one session file.

    plan     a campaign's file: which keys take which values; its tasks, each with a digest
    store    a folder: the plan as it was run, and a file for every task that is done
    task     one simulated session, from its values to its result
    run      all tasks that are not done, in processes of their own; a dead one costs its task
    table    one row a task and thread, as CSV or Parquet

    together   the same, many tasks at once in each process
    wave       a few tasks that advance together, to their results
    evolution  one task's session, block by block, without journal, recording or clock
    drives     what all their units say of all their images, as a session works it out
    fast_drives   the same in whole passes, on any device, but for rounding
    members    their optimizers as one batch
    shared     generators, networks and references, each loaded once

A task is found by a digest of all its numbers depend on: what is there is not run again, and a
plan that has changed runs what is new.
"""
