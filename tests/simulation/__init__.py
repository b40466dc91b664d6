"""A deterministic simulation of the world around the handlers. ``docs/reliability.md`` says what it proves."""
