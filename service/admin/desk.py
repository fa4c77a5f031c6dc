"""What a face needs so as to do what it is asked."""

from typing import NamedTuple

from service.kafka.sender import Sender
from service.mongo.store import MongoStore
from service.settings import Settings


class Desk(NamedTuple):
    """Settings, and the connections of a process that answers many: kept open."""

    settings: Settings
    store: MongoStore
    sender: Sender
