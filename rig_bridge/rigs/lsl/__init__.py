"""Lab Streaming Layer: markers out, responses in, all on one clock.

clock     the library, its configuration for one machine, its clock and ours
windows   which windows around onsets are known whole, and their arrays: the logic, without LSL
streams   markers out, and the `Acquisition` that reads a stream
units     a stream's unit table, numbered or from a file
"""
