"""``order-engine doctor``: is the deployment well, and if not, what to do about it."""
