"""Every fault, each with its name. A fault returns when it is over; what follows is recovery."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.faults import of_clocks, of_messages, of_network, of_servers, of_workers
from tests.faults.situation import Situation


class Case(NamedTuple):
    """A line of the matrix."""

    name: str
    act: Callable[[Situation], Awaitable[None]]
    in_short: bool = False
    proxied: bool = False
    """The workers reach broker and database through proxies."""
    restores: bool = False
    """The database goes back in time: changes may come again."""
    scale: float = 1.0
    """So many times the profile's inputs and records."""
    account: Callable[[Situation], Awaitable[None]] | None = None
    """Tells the workload, once everything is dealt with, what of it became a dead letter by declaration."""
    ends_workers: bool = False
    """At least one process of a worker ends."""
    repeats: bool = True
    """It may come again in the same cluster, and others after it."""


async def nothing(_: Situation) -> None:
    """The baseline."""


CASES = (
    Case("none", nothing),
    Case("kill -9 at each failpoint", of_workers.kill_at_failpoints, in_short=True, ends_workers=True),
    Case("random kill -9", of_workers.kill_at_random, in_short=True, ends_workers=True),
    Case("zombie", of_workers.zombie, in_short=True),
    Case("blocked event loop", of_workers.blocked_event_loop, ends_workers=True),
    Case("join/leave storm", of_workers.join_leave_storm, ends_workers=True),
    Case("all asked to end at once", of_workers.all_stopped_at_once, ends_workers=True),
    Case("clocks: one 10 min ahead, one behind", of_clocks.apart, account=of_clocks.account, ends_workers=True),
    Case("broker: leader killed", of_servers.kill_leader),
    Case("broker: controller killed", of_servers.kill_controller),
    Case("broker: rolling restart", of_servers.rolling_restart),
    Case("broker: all away 30 s", of_servers.all_brokers_away),
    Case("database: step-down", of_servers.step_down),
    Case("database: primary killed", of_servers.kill_primary),
    Case("database: all away 30 s", of_servers.whole_set_away),
    Case("database: writes refused, disk full", of_servers.disk_full),
    Case(
        "database: away, half an hour's backlog",
        of_servers.backlog_without_database,
        scale=3.6,
        ends_workers=True,
        repeats=False,
    ),
    Case("network: latency 200 ms", of_network.latency, proxied=True),
    Case("network: cut", of_network.cut, proxied=True),
    Case("network: half-open", of_network.half_open, proxied=True),
    Case("network: requests pass, answers do not", of_network.requests_only, proxied=True),
    Case("network: answers pass, requests do not", of_network.answers_only, proxied=True),
    Case("network: failed polls", of_network.failed_polls, proxied=True),
    Case("messages: undecodable batch", of_messages.undecodable_batch, ends_workers=True, repeats=False),
    Case("messages: hanging transactions", of_messages.hanging_transactions, ends_workers=True),
    Case("messages: topics recompressed", of_messages.recompressed),
    Case("messages: retention overtakes a lane", of_messages.retention_overtakes, ends_workers=True),
    Case("offsets: group deleted", of_workers.group_deleted, ends_workers=True),
    Case("offsets: told of long ago", of_workers.offsets_of_long_ago, ends_workers=True),
    Case("offsets: database restored, group deleted", of_workers.database_restored, restores=True, ends_workers=True),
)
