"""Workers: execute queued orders, resolve dead letters, sweep."""
