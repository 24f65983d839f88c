"""What a call does: judge, quote, ask, write down, wait."""
