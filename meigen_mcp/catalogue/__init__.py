"""What models exist, what a call may say and what it costs; no I/O and no clock."""
