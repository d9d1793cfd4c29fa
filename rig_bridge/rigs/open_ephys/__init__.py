"""Open Ephys as the acquisition of a rig, through the GUI's ZMQ Interface plugin.

format      bytes of the plugin to values, and back for the emulator
translate   the plugin's messages as the values of `rig_bridge.rigs.sampled`
units       which electrode and cluster is which unit
client      the sockets, and the `Acquisition` that a rig is given
emulator    the other side of the wire: a simulated population, and faults on command
lamp        tells the emulator what its photodiode and its neurons see
"""
