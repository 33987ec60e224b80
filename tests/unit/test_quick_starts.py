"""SQLAlchemy takes a third of a second to load: who has no mail store does not wait for it."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("program", ["cli", "services.console", "services.gateway", "services.resolver"])
def test_who_has_no_store_does_not_load_what_reads_it(program: str):
    loaded = f"import {program}.__main__, sys; print('sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", loaded], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
