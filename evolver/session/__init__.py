"""The loop and its logic: what is shown when, what comes of it, and in which order it is kept.

schedule    blocks, generations, presentations: which images are due, and when
fitness     from responses to one score an image
block       one block while it is shown
loop        render, record, show, gather, commit
to_records  everything that makes a record of the journal
watchdogs   what a session warns of, or pauses for
ports       what the loop needs of the world: a rig, a recorder, a clock, commands
"""
