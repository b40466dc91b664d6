"""The order execution engine: domain, use cases, venues, AWS adapters, wire models."""
