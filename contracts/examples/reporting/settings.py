"""Settings from the environment, prefix REPORTING_."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from contracts.examples.reporting.errors import Mend

PREFIX = "REPORTING_"


def database(text: str) -> URL:
    """Where the database is. Raises ValueError, which does not repeat the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is no SQLAlchemy URL, like sqlite:///reporting.db") from None
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise ValueError(f"{url.drivername} is neither sqlite nor postgresql+psycopg")
    return url


def _checked(secret: SecretStr) -> SecretStr:
    database(secret.get_secret_value())
    return secret


class Settings(BaseSettings):
    """Every setting of the example."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    kafka_bootstrap_servers: Annotated[str, StringConstraints(min_length=1)] = Field(
        "localhost:9092", description="Addresses of Kafka brokers, with commas between"
    )
    topic_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,200}$")] = Field(
        "", description="Put before every topic's name, as Ratchet has it"
    )
    database_url: Annotated[SecretStr, AfterValidator(_checked)] = Field(
        SecretStr("sqlite:///reporting.db"), description="SQLAlchemy URL of the database; it may have a password"
    )

    @property
    def url(self) -> URL:
        """Of the database."""
        return database(self.database_url.get_secret_value())


def load() -> Settings:
    """From the environment. Raises Mend, naming each setting that is wrong."""
    try:
        return Settings()
    except ValidationError as wrong:
        said = [f"{PREFIX}{str(error['loc'][0]).upper()}: {error['msg']}" for error in wrong.errors()]
        raise Mend("; ".join(said).replace("Value error, ", "")) from None
