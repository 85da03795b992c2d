"""The country being played: reading and checking its folder of data files. Knows no block by name."""
