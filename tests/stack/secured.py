"""Kafka and MongoDB as companies run them: TLS, users by SCRAM or by certificate, nobody may more than was said.

The address without TLS is the tests' own, which may do everything.
"""

import datetime as dt
import ipaddress
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo import MongoClient

from tests.stack.kafka import Ports, start_nodes
from tests.stack.mongodb import initiate, mongod
from tests.stack.servers import Daemon, free_port

KAFKA = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_SSL://127.0.0.1:{scram},SSL://127.0.0.1:{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{scram},SSL://127.0.0.1:{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
PASSWORD = "hush-hush"


class Secured(NamedTuple):
    """Both servers. `folder`: certificates; `own_*`: addresses of who may do everything."""

    folder: Path
    own_kafka: str
    scram_kafka: str
    tls_kafka: str
    mongodb_port: int
    own_mongodb: str
    daemons: tuple[Daemon, ...]

    def stop(self) -> None:
        """Both."""
        for daemon in self.daemons:
            daemon.stop()

    def settings(self, user: str, by: str) -> Mapping[str, str]:
        """Of a user who logs in by "scram" or by "certificate"."""
        authorities = str(self.folder / "ca.pem")
        both = {
            "RATCHET_KAFKA_CA_FILE": authorities,
            "RATCHET_MONGODB_TLS": "true",
            "RATCHET_MONGODB_CA_FILE": authorities,
        }
        if by == "scram":
            return {
                **both,
                "RATCHET_KAFKA_BOOTSTRAP_SERVERS": self.scram_kafka,
                "RATCHET_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "RATCHET_KAFKA_SASL_USERNAME": user,
                "RATCHET_KAFKA_SASL_PASSWORD": PASSWORD,
                "RATCHET_MONGODB_URI": self._mongodb(f"{user}:{PASSWORD}@", "authSource=admin"),
            }
        pem = str(self.folder / f"{user}.pem")
        return {
            **both,
            "RATCHET_KAFKA_BOOTSTRAP_SERVERS": self.tls_kafka,
            "RATCHET_KAFKA_SECURITY_PROTOCOL": "SSL",
            "RATCHET_KAFKA_CERTIFICATE_FILE": pem,
            "RATCHET_KAFKA_KEY_FILE": pem,
            "RATCHET_MONGODB_CERTIFICATE_KEY_FILE": pem,
            "RATCHET_MONGODB_URI": self._mongodb("", "authMechanism=MONGODB-X509&authSource=$external"),
        }

    def _mongodb(self, who: str, options: str) -> str:
        return f"mongodb://{who}127.0.0.1:{self.mongodb_port}/?replicaSet=rs0&{options}"

    def add_user(self, user: str, role: str, database: str) -> None:
        """Known to both servers, by password and by certificate; may do nothing in Kafka yet."""
        self.certify(user)
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(user, credentials, PASSWORD.encode())
        admin = AdminClient({"bootstrap.servers": self.own_kafka})
        (made,) = admin.alter_user_scram_credentials([wanted]).values()
        made.result()
        roles = [{"role": role, "db": database}]
        with MongoClient[dict[str, Any]](self.own_mongodb) as client:
            client.admin.command("createUser", user, pwd=PASSWORD, roles=roles)
            client["$external"].command("createUser", f"CN={user}", roles=roles)

    def drop_user(self, user: str) -> None:
        """Whose password and certificate are worth nothing any more; open connections stay."""
        admin = AdminClient({"bootstrap.servers": self.own_kafka})
        (gone,) = admin.alter_user_scram_credentials(
            [UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)]
        ).values()
        gone.result()
        with MongoClient[dict[str, Any]](self.own_mongodb) as client:
            client.admin.command("dropUser", user)
            client["$external"].command("dropUser", f"CN={user}")

    def certify(self, user: str) -> None:
        """A new key and certificate, in the file of the old ones."""
        _certify(self.folder, user)


def start_secured(folder: Path) -> Secured:
    """One of each. Raises NotAvailable."""
    folder.mkdir(parents=True, exist_ok=True)
    _make_authority(folder)
    _certify(folder, "server")
    scram, tls, database = free_port(), free_port(), free_port()

    def more(ports: Ports) -> str:
        return KAFKA.format(folder=folder, scram=scram, tls=tls, port=ports.port, controller=ports.controller)

    (node,) = start_nodes(folder, 1, more)
    daemon, own = _start_mongodb(folder, database)
    addresses = node.address, f"127.0.0.1:{scram}", f"127.0.0.1:{tls}"
    return Secured(folder, *addresses, database, own, (node.daemon, daemon))


def _start_mongodb(folder: Path, port: int) -> tuple[Daemon, str]:
    home = folder / f"mongodb-{uuid.uuid4().hex[:8]}"
    (home / "data").mkdir(parents=True)
    key = home / "key"
    key.write_text("c2VjcmV0IG9mIHRoZSBzZXQ=\n")
    key.chmod(0o400)
    command = [str(mongod()), "--dbpath", str(home / "data"), "--port", str(port), "--bind_ip", "127.0.0.1"]
    command += ["--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.5", "--auth", "--keyFile", str(key)]
    command += ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(folder / "server.pem")]
    command += ["--tlsCAFile", str(folder / "ca.pem"), "--tlsAllowConnectionsWithoutCertificates"]
    daemon = Daemon(command, port, home / "server.log")
    tls = f"tls=true&tlsCAFile={quote(str(folder / 'ca.pem'), safe='')}"
    alone = f"mongodb://127.0.0.1:{port}/?directConnection=true&{tls}"
    initiate(alone, f"127.0.0.1:{port}")
    with MongoClient[dict[str, Any]](alone) as client:
        client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
    return daemon, f"mongodb://root:{PASSWORD}@127.0.0.1:{port}/?directConnection=true&{tls}"


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    usage = x509.BasicConstraints(ca=True, path_length=None)
    certificate = _unsigned(name, name, key).add_extension(usage, critical=True).sign(key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca-key.pem").write_bytes(_private(key))


def _certify(folder: Path, name: str) -> None:
    """A key and a certificate in one file, for this name and for this machine."""
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    authority_key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    unsigned = _unsigned(subject, authority.subject, key).add_extension(here, critical=False)
    certificate = unsigned.sign(authority_key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(_private(key) + certificate.public_bytes(serialization.Encoding.PEM))


def _unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
