"""The addresses under /api/: one module for each kind of thing."""
