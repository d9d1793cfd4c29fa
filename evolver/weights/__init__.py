"""Weight files: where they lie, what they hold, and how to read them without running them.

    read           a file's tensors, by its first bytes, and only when it is the one named
    hub            where files lie, and how those that do not come to this machine
    catalogue      the files that generators want: where from, under which licence
    torch_files, mxnet_files, safe_pickle, safe_network    formats of others, read as data

Generators and scorers stand on this room; it knows nothing of either.
"""
