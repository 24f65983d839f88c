"""What was promised, on disk: every generation and what counts against the caps; the only SQL."""
