"""The settings as a Markdown table, for the docs: `python -m service.settings_table PAGE`."""

import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from rules.render import between
from service.settings import PREFIX, Settings

BEGIN = "<!-- settings: begin -->"
END = "<!-- settings: end -->"


def markdown() -> str:
    """Every setting with its default."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def _default(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def replaced(page: str) -> str:
    """The page with the settings of today between its marks. Raises ValueError where it has no marks."""
    return between(page, BEGIN, f"{markdown()}\n", END)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(replaced(page.read_text("utf-8")), "utf-8")
