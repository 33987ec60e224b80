"""How the pages look: one style sheet, written into each of them.

A file of its own would be a second request before anything can be painted, and after an upgrade the old one would stay
in browsers' caches beside the new pages.
"""

import hashlib
from base64 import b64encode
from pathlib import Path

from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"

STYLE = Markup((TEMPLATES / "console.css").read_text(encoding="utf-8"))  # noqa: S704  # a file of ours

# What a Content-Security-Policy says to let it in, and nothing else (CSP 3, section 2.3.1).
STYLE_SOURCE = f"'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
