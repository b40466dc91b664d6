"""The simulated market: pools with the venues' real mathematics, and a chain without a ledger."""
