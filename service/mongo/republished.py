"""How far the states of records were told anew, for who goes on after an interruption. Collection: `republished`."""

from service.mongo.driver import Database, mongo_answers


class Republished:
    """By tenant and course, where an empty id stands for all. Every method raises WaitAndRetry without a database."""

    def __init__(self, database: Database) -> None:
        self._republished = database["republished"]

    async def last(self, tenant_id: str, course_id: str) -> str:
        """Key of the last record that was asked for; empty where none was, or all were."""
        async with mongo_answers():
            found = await self._republished.find_one({"_id": f"{tenant_id}/{course_id}"})
        return "" if found is None else str(found["last"])

    async def note(self, tenant_id: str, course_id: str, last: str) -> None:
        """All up to this one were asked for."""
        async with mongo_answers():
            one = {"_id": f"{tenant_id}/{course_id}"}
            await self._republished.replace_one(one, {**one, "last": last}, upsert=True)

    async def forget(self, tenant_id: str, course_id: str) -> None:
        """All were asked for: the next time begins with the first."""
        async with mongo_answers():
            await self._republished.delete_one({"_id": f"{tenant_id}/{course_id}"})
