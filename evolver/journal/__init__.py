"""The journal: an append-only record that survives kills, power loss and full disks.

records              what is kept: one struct a kind of record
frames, storage      how records are wrapped, and the storage calls that are made
writer, reader       put records on disk, and read them back
follower             reads while somebody else writes
interpreter          what records mean in their order, worked out once for every reader
survey, history      what a session consists of; where it stood
salvage              what stands in for a first record that is lost
recorder             a worker that journals while the loop goes on
recorder_process, recorder_client, recorder_protocol    the same in a process of its own
"""

from evolver.journal.reader import JournalIndex, read_journal
from evolver.journal.recorder import Recorder
from evolver.journal.writer import JournalWriter

__all__ = ["JournalIndex", "JournalWriter", "Recorder", "read_journal"]
