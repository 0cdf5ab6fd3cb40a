"""Is a live host as its inventory says? Read-only, by another road than the deploy's."""
