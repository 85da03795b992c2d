"""Payments: who is paid where, whether they can be, and batches that pay each instruction exactly once.

The journey of a batch: accepted and split by institution in one transaction (`batches`), authorised by the paying bank, which
moves the funds to settlement (`authorisation`), sent as sub-batches, answered by results per instruction (`execution`), and
closed by returning what could not be paid. Every movement of money is one row of the ledger, written in the transaction that
changes the instruction's state (`ledger`). Every call to others stands in the outbox with a fixed id, and receivers apply it once.
"""
