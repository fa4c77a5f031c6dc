"""A world before anybody sends: topics of the wanted kind, and something aborted in what readers read."""

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from contracts.topics import STEP_COMPLETION_CHANGED
from tests.interop.plan import Topics
from tests.stack.service import World

PATIENCE_SECONDS = 30


def configure(world: World, topics: Topics) -> None:
    """Every topic of the world, Ratchet's own among them."""
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    wanted = {"message.timestamp.type": topics.timestamps, "compression.type": topics.compression}
    entries = [ConfigEntry(*pair, incremental_operation=AlterConfigOpType.SET) for pair in wanted.items()]
    names = [name for name in admin.list_topics(timeout=PATIENCE_SECONDS).topics if name.startswith(world.prefix)]
    changes = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name in names]
    for altered in admin.incremental_alter_configs(changes).values():
        altered.result()


def abort_something_outbound(world: World) -> None:
    """As a worker does that dies. Whoever reads what is committed must not see it."""
    ghost = Producer(
        {"bootstrap.servers": world.broker.address, "transactional.id": f"{world.name}-ghost", "log_level": 0}
    )
    ghost.init_transactions(PATIENCE_SECONDS)
    ghost.begin_transaction()
    for partition in range(world.partitions):
        ghost.produce(world.prefix + STEP_COMPLETION_CHANGED.name, b"{}", b"ghost", partition=partition)
    ghost.flush(PATIENCE_SECONDS)
    ghost.abort_transaction(PATIENCE_SECONDS)
