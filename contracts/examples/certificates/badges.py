"""What a credential and a status list say: Open Badges 3.0, Verifiable Credentials 2.0, Bitstring Status List 1.0."""

import gzip
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Any, NamedTuple

LIST_BITS = 131_072
"""Of a status list: 16 KB, the least that the standard takes, so that nobody's place in it tells of them."""
CREDENTIALS = "https://www.w3.org/ns/credentials/v2"
CONTEXTS = [CREDENTIALS, "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"]
Json = dict[str, Any]


class Issuer(NamedTuple):
    """Who issues. `id`: a DID; `base_url`: where its credentials are served."""

    id: str
    name: str
    base_url: str

    @property
    def profile(self) -> Json:
        """As credentials name it."""
        return {"id": self.id, "type": ["Profile"], "name": self.name}


class Earned(NamedTuple):
    """What a certificate is for. Times as Ratchet spells them."""

    certificate_id: str
    tenant_id: str
    learner_id: str
    course_id: str
    title: str
    completed_at: str
    expires_at: str | None


def credential(issuer: Issuer, earned: Earned, index: int) -> Json:
    """An OpenBadgeCredential, not signed yet. `index`: its place in the status lists."""
    status_list, place = divmod(index, LIST_BITS)
    listed = f"{issuer.base_url}/status/{status_list}"
    said: Json = {
        "@context": CONTEXTS,
        "id": f"{issuer.base_url}/credentials/{earned.certificate_id}",
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": earned.title,
        "issuer": issuer.profile,
        "validFrom": earned.completed_at,
        "credentialSubject": {
            "id": f"urn:lms:{earned.tenant_id}:{earned.learner_id}",
            "type": ["AchievementSubject"],
            "achievement": {
                "id": f"urn:lms:{earned.tenant_id}:course:{earned.course_id}",
                "type": ["Achievement"],
                "name": earned.title,
                "description": f"Completion of the course {earned.title}.",
                "criteria": {"narrative": "All that the course requires was completed."},
            },
        },
        "credentialStatus": {
            "id": f"{listed}#{place}",
            "type": "BitstringStatusListEntry",
            "statusPurpose": "revocation",
            "statusListIndex": str(place),
            "statusListCredential": listed,
        },
    }
    return said if earned.expires_at is None else {**said, "validUntil": earned.expires_at}


def status_list(issuer: Issuer, number: int, revoked: Iterable[int], valid_from: str) -> Json:
    """Which credentials are revoked, by their places in this list; not signed yet."""
    bits = bytearray(LIST_BITS // 8)
    for place in revoked:
        bits[place // 8] |= 128 >> place % 8
    packed = urlsafe_b64encode(gzip.compress(bits, mtime=0)).rstrip(b"=").decode()
    own = f"{issuer.base_url}/status/{number}"
    return {
        "@context": [CREDENTIALS],
        "id": own,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": issuer.id,
        "validFrom": valid_from,
        "credentialSubject": {
            "id": f"{own}#list",
            "type": "BitstringStatusList",
            "statusPurpose": "revocation",
            "encodedList": f"u{packed}",
        },
    }
