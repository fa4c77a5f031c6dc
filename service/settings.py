"""Settings from the environment, prefix RATCHET_, with documented defaults; deploy/README.md shows them as a table."""

import os
import ssl
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from service.errors import FixConfiguration

PREFIX = "RATCHET_"
SECRETS_DIR = "RATCHET_SECRETS_DIR"
NOT_SETTINGS = {
    "RATCHET_SECRETS_DIR",
    "RATCHET_FAILPOINT",
    "RATCHET_TEST_BROWSER",
    "RATCHET_TEST_DEPLOY",
    "RATCHET_TEST_REAL_KAFKA",
    "RATCHET_TEST_SCREENSHOTS",
}
"""Names with the prefix that are read elsewhere."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,200}$")]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """Every setting of the service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    kafka_bootstrap_servers: str = Field(
        "localhost:9092", description="Addresses of Kafka brokers, with commas between"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT",
        description="How to talk to Kafka; `SASL_PLAINTEXT` only with `RATCHET_KAFKA_ALLOW_SASL_WITHOUT_TLS`",
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How to log in to Kafka where the protocol is SASL"
    )
    kafka_sasl_username: str | None = Field(None, description="Kafka user")
    kafka_sasl_password: SecretStr | None = Field(None, description="Kafka password")
    kafka_allow_sasl_without_tls: bool = Field(False, description="Allow the password to cross the network in the open")
    kafka_ca_file: Path | None = Field(None, description="Authorities (PEM) to trust for Kafka, else the system's")
    kafka_certificate_file: Path | None = Field(None, description="Client certificate (PEM) for Kafka")
    kafka_key_file: Path | None = Field(None, description="Key (PEM) of the client certificate for Kafka")
    kafka_check_crcs: bool = Field(True, description="Verify checksums of what is read; off only for mock brokers")
    kafka_session_timeout_seconds: Annotated[int, Field(ge=6, le=1800)] = Field(
        30, description="After this long without a sign of life a worker's lanes go to the others"
    )
    mongodb_uri: SecretStr = Field(
        SecretStr("mongodb://localhost:27017/?replicaSet=rs0"), description="Where MongoDB is; a replica set"
    )
    mongodb_database: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,63}$")] = Field(
        "ratchet", description="Name of the database"
    )
    mongodb_tls: bool = Field(False, description="Talk TLS to MongoDB")
    mongodb_ca_file: Path | None = Field(None, description="Authorities (PEM) to trust for MongoDB, else the system's")
    mongodb_certificate_key_file: Path | None = Field(
        None, description="Client certificate with its key (PEM) for MongoDB"
    )
    group: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = Field(
        "ratchet", description="Kafka consumer group, and beginning of the transactional ids"
    )
    instance: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")] | None = Field(
        None,
        description="Name of this worker in its group, the same after a restart, as a StatefulSet's pod has it: its "
        "lanes wait for it, for as long as its session lasts, instead of going to others and back",
    )
    state_topic: bool = Field(
        True, description="Tell in `completion.record-state.v1` where a record stands, whenever that changes"
    )
    topic_prefix: Name = Field("", description="Put before every topic's name")
    schema_registry_url: SecretStr | None = Field(
        None,
        description="A schema registry (Confluent's protocol), as `https://user:password@registry:8081`: values that "
        "go out begin with their schema's id there; first `ratchet contracts register`",
    )
    partitions: Annotated[int, Field(ge=1, le=10000)] = Field(
        12, description="Partitions of topics that `ratchet topics create` creates"
    )
    replication_factor: Annotated[int, Field(ge=-1, le=32767)] = Field(
        -1, description="Copies of topics that `ratchet topics create` creates; -1: the broker's default"
    )
    batch_messages: Annotated[int, Field(ge=1, le=100_000)] = Field(
        30_000,
        description="Messages that a lane takes together, at most; more than four lanes share four times as many",
    )
    batch_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = Field(
        12 * 1024 * 1024, description="Bytes of messages that a lane takes together, about; shared likewise"
    )
    batch_records: Annotated[int, Field(ge=1, le=100_000)] = Field(
        5_000, description="Records that a batch of a lane is about, at most; shared likewise"
    )
    new_facts_per_record: Annotated[int, Field(ge=1, le=2000)] = Field(
        200,
        description="Messages about one record that a lane takes together, at most, five times as many while nothing "
        "else waits; those of others overtake the rest",
    )
    records_together: Annotated[int, Field(ge=1, le=100_000)] = Field(
        160, description="Records of a batch that are loaded, decided and stored together, at most"
    )
    facts_in_record: Annotated[int, Field(ge=1, le=1000)] = Field(
        16,
        description="So many of a record's newest facts stay with it; once there are twice as many, the older ones "
        "move to `record_history`",
    )
    max_new_completions: Annotated[int, Field(ge=0, le=2**31)] = Field(
        1000,
        description="A new course definition that would complete more learners than this waits for "
        "`ratchet courses release`",
    )
    max_new_certificates: Annotated[int, Field(ge=0, le=2**31)] = Field(
        1000,
        description="A new course definition that would issue more certificates than this waits for "
        "`ratchet courses release`",
    )
    reevaluations_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1000, description="After a new course definition, records that each lane has decided again in a second, at most"
    )
    future_tolerance_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        300, description="A `changed_at` further ahead than this goes to the dead letters"
    )
    flood_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="More dead letters than this among the latest messages are a flood, and said loudly"
    )
    flood_window_messages: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        500, description="How many of the latest messages of a worker that looks at, at least"
    )
    stall_seconds: Annotated[int, Field(ge=60, le=86_400)] = Field(
        120, description="A lane that has lag and does nothing for this long ends the process with status 3"
    )
    start_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        30, description="Broker and database must answer within this time at the start"
    )
    shutdown_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        10, description="Time for the batches in hand when the process is asked to stop"
    )
    http_host: str = Field("127.0.0.1", description="Where `/livez`, `/readyz` and `/metrics` listen")
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Their port; 0: a free one, see the log")
    web_host: str = Field(
        "127.0.0.1", description="Where `ratchet web` listens; other than loopback only with an identity provider"
    )
    web_port: Annotated[int, Field(ge=0, le=65535)] = Field(8081, description="Its port; 0: a free one, as it says")
    web_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#\s]+$")] | None = Field(
        None, description="How browsers reach it, as `https://ratchet.example.org`; with https, cookies need it"
    )
    web_trusted_proxies: str = Field(
        "", description="Addresses of proxies, with commas between, whose word for a client's address counts"
    )
    web_jwks: str | None = Field(
        None, description="Keys of bearer tokens: a JWKS as a file, or its https address, asked again as keys change"
    )
    web_jwt_issuer: str | None = Field(None, description="`iss` that a bearer token must have")
    web_jwt_audience: str | None = Field(None, description="`aud` that a bearer token must have")
    web_oidc_issuer: str | None = Field(
        None, description="OpenID provider at which people sign in; it redirects to `/sign-in/done`"
    )
    web_oidc_client_id: str | None = Field(None, description="As the provider knows Ratchet")
    web_oidc_client_secret: SecretStr | None = Field(None, description="Likewise; none for a public client")
    web_oidc_scope: str = Field("openid profile", description="What is asked of the provider, with spaces between")
    web_roles_claim: str = Field(
        "roles",
        description="Claim with the roles: `viewer`, `administrator`, `operator`, `privacy`; a dot goes inside, as in "
        "`realm_access.roles`",
    )
    web_tenants_claim: str = Field(
        "tenants", description="Claim with the tenants that somebody may see; `*`, spelled out, is all of them"
    )
    web_session_secret: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="Signs the session cookies, the same for several processes; else they end with the process"
    )
    web_session_minutes: Annotated[int, Field(ge=1, le=10_080)] = Field(
        480, description="After so long somebody signs in again"
    )
    web_messages_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1000, description="Of one token, through `POST /v1/messages`; ten seconds' worth at once"
    )
    web_body_bytes: Annotated[int, Field(ge=1024, le=256 * 1024 * 1024)] = Field(
        8 * 1024 * 1024, description="Of a request without a file, at most"
    )
    web_upload_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024 * 1024)] = Field(
        64 * 1024 * 1024, description="Of a request with a file, at most"
    )
    traces_endpoint: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = Field(
        None,
        description="Where a worker sends spans (OTLP over HTTP), as `http://collector:4318/v1/traces`; else it makes "
        "none",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least that is logged")

    @model_validator(mode="after")
    def _secure(self) -> Self:
        sasl = self.kafka_security_protocol.startswith("SASL")
        if sasl and not (self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError(
                "RATCHET_KAFKA_SECURITY_PROTOCOL is SASL: "
                "set RATCHET_KAFKA_SASL_USERNAME and RATCHET_KAFKA_SASL_PASSWORD"
            )
        if not sasl and (self.kafka_sasl_username or self.kafka_sasl_password):
            raise ValueError(
                "RATCHET_KAFKA_SASL_USERNAME and RATCHET_KAFKA_SASL_PASSWORD "
                "need RATCHET_KAFKA_SECURITY_PROTOCOL=SASL_SSL"
            )
        if self.kafka_security_protocol == "SASL_PLAINTEXT" and not self.kafka_allow_sasl_without_tls:
            raise ValueError(
                "RATCHET_KAFKA_SECURITY_PROTOCOL: SASL_PLAINTEXT sends the password in the open: use SASL_SSL, "
                "or set RATCHET_KAFKA_ALLOW_SASL_WITHOUT_TLS=true"
            )
        files = (self.kafka_ca_file, self.kafka_certificate_file, self.kafka_key_file)
        if any(files) and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError("RATCHET_KAFKA_…_FILE need RATCHET_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
        if self.kafka_key_file is not None and self.kafka_certificate_file is None:
            raise ValueError("RATCHET_KAFKA_KEY_FILE needs RATCHET_KAFKA_CERTIFICATE_FILE")
        return self

    @model_validator(mode="after")
    def _identified(self) -> Self:
        tokens = {
            "RATCHET_WEB_JWKS": self.web_jwks,
            "RATCHET_WEB_JWT_ISSUER": self.web_jwt_issuer,
            "RATCHET_WEB_JWT_AUDIENCE": self.web_jwt_audience,
        }
        if any(tokens.values()) and not all(tokens.values()):
            raise ValueError(f"{', '.join(tokens)} belong together: set {_without_value(tokens)} too")
        people = {
            "RATCHET_WEB_OIDC_ISSUER": self.web_oidc_issuer,
            "RATCHET_WEB_OIDC_CLIENT_ID": self.web_oidc_client_id,
        }
        if any(people.values()) and not all(people.values()):
            raise ValueError(f"{' and '.join(people)} belong together: set {_without_value(people)} too")
        return self

    def kafka_options(self) -> dict[str, Any]:
        """Connection options of aiokafka's clients."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.kafka_bootstrap_servers.split(","),
            "security_protocol": self.kafka_security_protocol,
        }
        if self.kafka_sasl_password is not None:
            options |= {
                "sasl_mechanism": self.kafka_sasl_mechanism,
                "sasl_plain_username": self.kafka_sasl_username,
                "sasl_plain_password": self.kafka_sasl_password.get_secret_value(),
            }
        if self.kafka_security_protocol.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.kafka_ca_file)
            if self.kafka_certificate_file is not None:
                context.load_cert_chain(self.kafka_certificate_file, self.kafka_key_file)
        except (OSError, ssl.SSLError) as error:
            raise FixConfiguration(
                f"RATCHET_KAFKA_CA_FILE, RATCHET_KAFKA_CERTIFICATE_FILE, RATCHET_KAFKA_KEY_FILE: {error}"
            ) from None
        return context

    def mongodb_options(self) -> Mapping[str, Any]:
        """TLS options of the MongoDB client."""
        options: dict[str, Any] = {"tls": True} if self.mongodb_tls else {}
        if self.mongodb_ca_file is not None:
            options["tlsCAFile"] = str(self.mongodb_ca_file)
        if self.mongodb_certificate_key_file is not None:
            options["tlsCertificateKeyFile"] = str(self.mongodb_certificate_key_file)
        return options


def load_settings() -> Settings:
    """From the environment, and from files in RATCHET_SECRETS_DIR. Raises FixConfiguration naming each variable."""
    known = {(PREFIX + name).upper() for name in Settings.model_fields}
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known | NOT_SETTINGS
    )
    if unknown:
        raise FixConfiguration(f"{', '.join(unknown)}: no such setting; deploy/README.md lists those there are")
    directory = os.environ.get(SECRETS_DIR)
    if directory is not None and not Path(directory).is_dir():
        raise FixConfiguration(f"{SECRETS_DIR}: {directory} is not a directory")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # how a secret that is no file is told of
            return Settings(_secrets_dir=directory)
    except (SettingsError, UserWarning) as error:
        raise FixConfiguration(f"{SECRETS_DIR}: {error}") from None
    except ValidationError as error:
        raise FixConfiguration("; ".join(_spell(problem) for problem in error.errors(include_url=False))) from None


def _without_value(values: Mapping[str, str | None]) -> str:
    return ", ".join(name for name, value in values.items() if not value)


def _spell(problem: Any) -> str:
    where = "".join(f"{PREFIX}{str(part).upper()}: " for part in problem["loc"][:1])
    return f"{where}{problem['msg'].removeprefix('Value error, ')}"
