"""A Solana of our own: a node with the venues' real programs, for tests and for trying.

The programs run in LiteSVM, a Solana virtual machine inside this process. What surrounds them (slots, block heights,
expiry, commitments, lost and late transactions, nodes of different age) is made here, so that tests can have each of it
at will.
"""
