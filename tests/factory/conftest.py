"""Properties have no deadline: a busy machine is slow, not wrong."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
