"""The MeiGen wire; the only HTTP client."""
