"""pyinfra's own switches: it loads this file from the folder it is run in."""

from pyinfra import config

config.REQUIRE_PYINFRA_VERSION = "~=3.10"
config.FAIL_PERCENT = 0  # one failed host stops the run
