"""In-memory implementations of the engine's ports, held to the adapters' behaviour by ``tests/contract``."""
