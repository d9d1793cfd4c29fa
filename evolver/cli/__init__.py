"""The command line: `app` mounts the groups of commands, a file each.

`progress` draws on the terminal how a session goes.
"""
