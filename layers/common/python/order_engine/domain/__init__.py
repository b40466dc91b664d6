"""Pure rules of the engine. Imports the standard library alone and performs no I/O."""
