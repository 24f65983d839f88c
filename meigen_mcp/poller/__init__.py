"""What happens without a call; the only submitter."""
