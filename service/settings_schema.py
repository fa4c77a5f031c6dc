"""Writes the JSON Schema of the Helm chart's values: `python -m service.settings_schema deploy/helm/ratchet/…json`.

The chart's own values are described in the file itself; `settings` is made anew from the settings, without the secret
ones, which belong into the chart's Secret.
"""

import json
import sys
from pathlib import Path
from typing import Any

from service.settings import PREFIX, Settings

OF_THE_CHART = {"RATCHET_INSTANCE", "RATCHET_HTTP_HOST", "RATCHET_HTTP_PORT", "RATCHET_WEB_HOST", "RATCHET_WEB_PORT"}
"""Which the chart sets itself."""


def settings_schema() -> dict[str, Any]:
    """Of the value `settings`: names as environment variables, values as people write them in YAML."""
    found = {}
    for name, said in Settings.model_json_schema()["properties"].items():
        variable, options = f"{PREFIX}{name.upper()}", [one for one in said.get("anyOf", [said]) if one != NULL]
        (one,) = options
        if not one.get("writeOnly") and variable not in OF_THE_CHART:
            told = {key: value for key, value in one.items() if key in KEPT}
            found[variable] = {"description": said["description"], **told}
    return {"type": "object", "additionalProperties": False, "properties": found}


NULL = {"type": "null"}
KEPT = {"type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"}


def main(path: Path) -> None:
    """Put it where the file has the old one."""
    schema = json.loads(path.read_text("utf-8"))
    schema["properties"]["settings"] = settings_schema()
    path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
