"""Lab Streaming Layer: markers out, responses in, all on one clock."""
