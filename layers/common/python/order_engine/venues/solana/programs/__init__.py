"""The venues' programs: where each keeps a pool, and how a swap in it is written. One module a program."""
