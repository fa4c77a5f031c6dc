"""Settings come from the environment and from secret files; what is wrong is named with its fix."""

from pathlib import Path

import pytest

from service.errors import FixConfiguration
from service.settings import Settings, load_settings
from service.settings_table import replaced

PAGE = Path(__file__).parents[1] / "deploy" / "README.md"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but the test's own."""
    import os

    for name in list(os.environ):
        if name.startswith("RATCHET_"):
            monkeypatch.delenv(name)


def test_defaults_are_valid() -> None:
    settings = load_settings()
    assert settings.kafka_options() == {"bootstrap_servers": ["localhost:9092"], "security_protocol": "PLAINTEXT"}
    assert settings.mongodb_options() == {}


WRONG = {
    "a name that is none": (
        {"RATCHET_KAFKA_BOOTSTRAP_SERVER": "k:1"},
        "RATCHET_KAFKA_BOOTSTRAP_SERVER: no such setting",
    ),
    "no number": ({"RATCHET_HTTP_PORT": "x"}, "RATCHET_HTTP_PORT: Input should be a valid integer"),
    "out of range": ({"RATCHET_BATCH_MESSAGES": "0"}, "RATCHET_BATCH_MESSAGES: Input should be greater"),
    "no such choice": ({"RATCHET_LOG_LEVEL": "LOUD"}, "RATCHET_LOG_LEVEL: "),
    "a group with a space": ({"RATCHET_GROUP": "a b"}, "RATCHET_GROUP: "),
    "SASL without TLS": (
        {
            "RATCHET_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "RATCHET_KAFKA_SASL_USERNAME": "u",
            "RATCHET_KAFKA_SASL_PASSWORD": "hush",
        },
        "SASL_PLAINTEXT sends the password in the open",
    ),
    "SASL without a user": ({"RATCHET_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "set RATCHET_KAFKA_SASL_USERNAME"),
    "a user without SASL": ({"RATCHET_KAFKA_SASL_USERNAME": "u"}, "need RATCHET_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
    "a file without TLS": ({"RATCHET_KAFKA_CA_FILE": "/x"}, "RATCHET_KAFKA_SECURITY_PROTOCOL=SSL"),
    "a name in another case that is none": ({"Ratchet_Bogus": "1"}, "Ratchet_Bogus: no such setting"),
    "a directory that is none": ({"RATCHET_SECRETS_DIR": "/no/such/place"}, "RATCHET_SECRETS_DIR: "),
}


@pytest.mark.parametrize(("environment", "says"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], says: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FixConfiguration) as wrong:
        load_settings()
    assert says in str(wrong.value)
    assert "hush" not in str(wrong.value)


def test_sasl_without_tls_when_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("RATCHET_KAFKA_ALLOW_SASL_WITHOUT_TLS", "true")
    monkeypatch.setenv("RATCHET_KAFKA_SASL_USERNAME", "u")
    monkeypatch.setenv("RATCHET_KAFKA_SASL_PASSWORD", "hush")
    settings = load_settings()
    assert settings.kafka_options()["sasl_plain_password"] == "hush"
    assert "ssl_context" not in settings.kafka_options()
    assert "hush" not in repr(settings)


def test_secrets_come_from_files_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ratchet_kafka_sasl_password").write_text("from-file\n")
    (tmp_path / "ratchet_mongodb_uri").write_text("mongodb://u:p@db/")
    monkeypatch.setenv("RATCHET_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("RATCHET_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("RATCHET_KAFKA_SASL_USERNAME", "u")
    settings = load_settings()
    assert settings.kafka_sasl_password is not None
    assert settings.kafka_sasl_password.get_secret_value() == "from-file"
    assert settings.mongodb_uri.get_secret_value() == "mongodb://u:p@db/"
    assert settings.kafka_options()["ssl_context"] is not None


def test_a_secret_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RATCHET_SECRETS_DIR", str(tmp_path))
    (tmp_path / "ratchet_group").mkdir()
    with pytest.raises(FixConfiguration, match=r'RATCHET_SECRETS_DIR: .* field "group"'):
        load_settings()
    (tmp_path / "ratchet_group").rmdir()
    (tmp_path / "ratchet_group").write_bytes(b"\xff\xfe")
    with pytest.raises(FixConfiguration, match="RATCHET_SECRETS_DIR: "):
        load_settings()


def test_a_certificate_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RATCHET_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("RATCHET_KAFKA_CA_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(FixConfiguration, match="RATCHET_KAFKA_CA_FILE"):
        load_settings().kafka_options()


def test_mongodb_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RATCHET_MONGODB_TLS", "true")
    monkeypatch.setenv("RATCHET_MONGODB_CA_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("RATCHET_MONGODB_CERTIFICATE_KEY_FILE", str(tmp_path / "client.pem"))
    assert load_settings().mongodb_options() == {
        "tls": True,
        "tlsCAFile": str(tmp_path / "ca.pem"),
        "tlsCertificateKeyFile": str(tmp_path / "client.pem"),
    }


def test_every_setting_is_described_and_the_readme_shows_them() -> None:
    """Stale? `make docs` writes it again."""
    assert all(field.description for field in Settings.model_fields.values())
    page = PAGE.read_text("utf-8")
    assert page == replaced(page)
