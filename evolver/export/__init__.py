"""Recordings in the formats of others: each a function from a recording to files.

nwb          Neurodata Without Borders, for archives
matlab       a MAT-file of version 7.3
parquet      its tables
image_files  every image as a PNG, and an index
animation    a thread's best images, one after another

This room reads recordings, never journals, and needs no generator and no rig; what takes
another package says so when it is called. `clock` puts rigs' times on one clock, `trains` makes
one train of spikes of many windows, `lab` finds what the session file says of the laboratory,
`session_facts` says what columns mean, `hdf5_file` makes a file that a full disk cannot break.
"""
