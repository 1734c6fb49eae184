"""What holds for every test of the project, those of the examples included."""

pytest_plugins = ["tests.support.ci_skips", "tests.support.kills", "tests.support.docker"]
