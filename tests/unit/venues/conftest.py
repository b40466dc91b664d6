"""Property tests here compute with large integers on shared machines: a deadline would measure the neighbours."""

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
