"""Every small slip in the engine's code is planted, one at a time: the tests have to notice."""
