"""The list of long tests names tests that are there."""

import re

from conftest import LONG


def test_every_line_is_a_test():
    for line in LONG.read_text().splitlines():
        file, *_, name = line.split("[")[0].split("::")
        found = re.findall(r"^ *def (test_\w+)", (LONG.parent / file).read_text(), re.M)
        assert name in found, line
