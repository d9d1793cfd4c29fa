"""What lies where in a session's folder; names only."""

JOURNAL = "journal"
RECORDING = "session.h5"
SESSION_FILE = "session.toml"
REPORT = "report"
