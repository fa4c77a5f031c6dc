"""deploy/sbom.json: what the image installs (CycloneDX), from what cyclonedx-py makes of deploy/requirements.txt."""

import json
import sys
from typing import Any

LEFT_OUT = {"externalReferences", "description", "tools"}
"""Where things can be downloaded depends on who asks; the rest says nothing of what is installed."""


def trimmed(value: Any) -> Any:
    """All the way down."""
    if isinstance(value, dict):
        return {name: trimmed(one) for name, one in value.items() if name not in LEFT_OUT}
    return [trimmed(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    json.dump(trimmed(json.load(sys.stdin)), sys.stdout, indent=1)
    print()
