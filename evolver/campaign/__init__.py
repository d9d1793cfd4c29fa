"""Many tasks, each done once: simulated sessions that differ in a few keys of one file.

The engine, which knows tasks of any kind:

    kind       what it asks of a kind: tasks with digests, and work that a process does
    store      a folder: the plan as it was run, and a file for every task that is done
    run        all tasks that are not done, in processes of their own; a dead one costs its own
    processes  a pool that outlives its workers
    cluster    workers of Dask in place of processes of this machine
    claims     several runs in one folder share its tasks
    progress   how far a run is

Simulated sessions, which are one kind:

    plan       a campaign's file: which keys take which values; its tasks, each with a digest
    task       one simulated session, from its values to its result
    named_files   the contents of files that a session file names, as digests
    scratch    its folder for a while, which killed processes do not leave behind for ever
    gathered   all results, read once
    table      one row a task and thread, as CSV or Parquet
    page       the same to be looked at

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
