"""What is answered, as structure and as text."""
