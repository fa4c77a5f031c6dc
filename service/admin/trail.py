"""Who changed what over HTTP, as programs and people read it."""

from typing import Any

from service.clock import spelled
from service.mongo.audit import Entry


def entry_json(id_: str, entry: Entry) -> dict[str, Any]:
    """One entry of the audit."""
    about = {name: value for name, value in entry.about.items() if value is not None}
    return {"id": id_, **entry._asdict(), "at": spelled(entry.at), "about": about}


def about_text(entry: Entry) -> str:
    """What it was about, in words."""
    return ", ".join(f"{name} {value}" for name, value in entry.about.items() if value not in (None, [], ""))
