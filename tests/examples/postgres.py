"""A PostgreSQL server for tests: the system's, or the one in the wheel pgserver, on data of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.stack.servers import Daemon, NotAvailable, Server, free_port

USER = "postgres"
WHEEL = "pgserver"


def start() -> Server:
    """A running server. Raises NotAvailable."""
    programs, how = _programs()
    folder = Path(tempfile.mkdtemp(prefix="ratchet-postgres-"))
    as_user = _as_user(folder)
    port = free_port()
    try:
        _initialize(programs, folder, as_user)
        command = [*as_user, str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        daemon = Daemon([*command, "-h", "127.0.0.1", "-k", "", "-F"], port, folder / "server.log")
    except NotAvailable:
        shutil.rmtree(folder)
        raise

    def stop() -> None:
        daemon.stop()
        shutil.rmtree(folder)

    return Server(f"postgresql+psycopg://{USER}@127.0.0.1:{port}", f"PostgreSQL at 127.0.0.1:{port}, {how}", stop)


def new_database(server: Server) -> str:
    """The address of an empty one."""
    name = f"reporting_{uuid.uuid4().hex[:8]}"
    engine = create_engine(f"{server.address}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server.address}/{name}"


def _programs() -> tuple[Path, str]:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent, "the system's"
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent, "the system's"
    try:
        listed = files(WHEEL) or []
    except PackageNotFoundError:
        raise NotAvailable(f"neither PostgreSQL nor the wheel {WHEEL} is installed") from None
    found = next((Path(str(file.locate())).parent for file in listed if file.name == "initdb"), None)
    if found is None:
        raise NotAvailable(f"the wheel {WHEEL} has no initdb")
    return found, f"from the wheel {WHEEL}"


def _as_user(folder: Path) -> Sequence[str]:
    """It refuses to run as root: then as the user that Debian has for it."""
    if os.geteuid():
        return ()
    if not shutil.which("setpriv"):
        raise NotAvailable("PostgreSQL does not run as root, and there is no setpriv")
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        raise NotAvailable(f"PostgreSQL does not run as root, and there is no user {USER}") from None
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _initialize(programs: Path, folder: Path, as_user: Sequence[str]) -> None:
    command = [*as_user, str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8"]
    ran = subprocess.run(
        [*command, "--no-locale", "--no-sync"], cwd=folder, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise NotAvailable(f"initdb does not work: {ran.stderr.strip()[-300:]}")
