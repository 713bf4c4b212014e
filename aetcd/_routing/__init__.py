"""Where to send, and whether again: pure decisions. Nothing here waits; clock and randomness are arguments."""
