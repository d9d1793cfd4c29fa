"""A journal's writer that is going to be killed, for a process of its own."""

from pathlib import Path

from evolver.journal import JournalWriter, Recorder
from tests.journal.disks import KillingDisk
from tests.recording.sessions import make_records


def write(folder: Path, at: int, acknowledged) -> None:
    """Write a session's records, and send the sequence of what is safe now and then.

    `at` is the storage call that kills it; -1 if somebody else will.
    """
    journal = JournalWriter(folder, files=KillingDisk(at), segment_bytes=60_000, resume=True)
    with Recorder(journal, sync_interval_s=0.002) as recorder:
        begin = journal.next_sequence
        for sequence, record in enumerate(make_records(generations=20)):
            if sequence >= begin:
                recorder.submit(record)
                if sequence % 3 == 0:
                    recorder.barrier()
                    acknowledged.send(sequence)
