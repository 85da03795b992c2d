"""Starting and steering a sandbox: the plan (who runs, where, with which settings), the supervisor, the steward's client.

``plan`` is pure: from a topology, secrets and an address book it makes each process's settings. ``supervisor`` forks the processes of
an embedded sandbox from one parent that has imported everything. ``settle`` is what the steward does once all is up:
relying parties are registered and the country's data is brought in. ``client`` talks to a running sandbox, of either shape.
"""
