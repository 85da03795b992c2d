"""Sandroad's plumbing: what every app shares, and the command that starts and steers them. Knows no block by name."""
