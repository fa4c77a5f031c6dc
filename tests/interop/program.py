"""A program that does what it is asked: a JSON object a line, and one back.

- `{"do": "about"}` → `client`, `runtime`, `codecs`, `events`, `validator`: names and versions.
- `{"do": "produce", "bootstrap", "topic", "codec", "mode", "transaction", "timeout_ms", "messages"}` → nothing. A
  message has `key`, `value` and `headers`, a list of names and values in base64 or null. `mode` is of plan.MODES;
  `transaction` is the transactional id or null. What is left open stays so as long as the program runs.
- `{"do": "end"}`, with the same fields but messages: another producer takes the transactional id over.
- `{"do": "consume", "bootstrap", "group", "topics"}` → `messages`. Of each topic `schema`, and by partition the `last`
  offset to wait for. A message has `topic`, `partition`, `offset`, `key`, `value`, `headers`, `invalid` (what the
  validator says against the value, or null), and `event`: the attributes and `data` that the CloudEvents SDK found.
- Whatever goes wrong: `error`.
"""

import json
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.stack.build import Program

ANSWER_SECONDS = 120.0


class Refused(Exception):
    """The program could not do it; the message says why."""


class Running:
    """A program that runs until it is closed, or until this process ends: its standard input ends then."""

    def __init__(self, program: Program, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                program.command,
                cwd=program.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def ask(self, do: str, **job: Any) -> dict[str, Any]:
        """The answer. Raises Refused."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        overdue = threading.Timer(ANSWER_SECONDS, process.kill)
        overdue.start()
        try:
            process.stdin.write(json.dumps({"do": do, **job}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            overdue.cancel()
        if not line:
            said = self._log.read_text(errors="replace")[-500:].strip()
            raise Refused(f"no answer within {ANSWER_SECONDS:.0f} s, or ended: {said}")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(str(answer["error"]).strip().splitlines()[0][:300])
        return dict(answer)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
