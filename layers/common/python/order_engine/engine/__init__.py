"""Use cases. They talk to the world through the Protocols in ``ports`` only."""
