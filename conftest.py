"""What holds for every test of the project, those of the examples included."""

from hypothesis import settings

# How long an example takes says something about the machine only.
settings.register_profile("moorings", deadline=None)
settings.load_profile("moorings")

pytest_plugins = ["tests.support.ci_skips", "tests.support.kills", "tests.support.docker"]
