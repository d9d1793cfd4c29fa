"""What every acquisition that counts samples shares, whatever system sends them.

sequence    message numbers: what is missing, what came twice, what was restarted
alignment   the photodiode's edges, and through them the sample clock in display time
windows     spikes around each onset, complete or lost: the whole logic, without sockets
"""
