"""A list of beneficiaries as a CSV file: read as a whole or not at all, taken row by row, harmless when repeated."""
