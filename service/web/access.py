"""Who asks, and whether they may: roles and tenants. Every route says which role it needs and where its tenant is.

Who it is, the gate (service.web.gate) finds out before a request is read; here it is held against what is asked for.
A tenant that the caller may not see is answered like one that does not exist.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from fastapi import Depends, Request

from service.web.problems import Problem, documented, not_found

Role = Literal["viewer", "administrator", "operator", "privacy"]
ROLES: frozenset[Role] = frozenset(get_args(Role))
EVERY_TENANT = "*"
Answers = Mapping[int | str, dict[str, Any]]
NONE: Answers = MappingProxyType({})
TenantRule = Literal["path", "query", "body", "caller", "none"]
"""Where a route's tenant is said: in its path, in the query, in the body; `caller`: what is given out is cut to the
caller's tenants; `none`: it is about no tenant."""


class Caller(NamedTuple):
    """Somebody, or a program, as the identity provider says. `how`: `token`, `session` or `link`."""

    name: str
    roles: frozenset[str]
    tenants: frozenset[str]
    how: Literal["token", "session", "link"]
    csrf: str = ""
    """What forms of this session must carry."""

    def sees(self, tenant_id: str) -> bool:
        """Whether the tenant is one of theirs."""
        return tenant_id in self.tenants or EVERY_TENANT in self.tenants

    @property
    def named_tenants(self) -> list[str]:
        """Those that are spelled out, to choose from; empty where it is every one."""
        return sorted(self.tenants - {EVERY_TENANT})

    def check(self, tenant_id: str) -> None:
        """Raises Problem where it is not."""
        if not self.sees(tenant_id):
            raise not_found()

    def only(self, tenant_id: str | None) -> list[str] | None:
        """The tenants to look in: the one asked for, else all of theirs; None: every one. Raises Problem."""
        if tenant_id:
            self.check(tenant_id)
            return [tenant_id]
        return None if EVERY_TENANT in self.tenants else sorted(self.tenants)

    def is_any(self, *roles: Role) -> bool:
        """Whether they have one of these."""
        return not self.roles.isdisjoint(roles)


def caller_of(request: Request) -> Caller:
    """Who asks. Raises Problem where nobody has said who they are."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise Problem(401, "Say who you are: a bearer token, or sign in.", headers={"WWW-Authenticate": "Bearer"})
    return caller


def named(claim: Any) -> Iterable[str]:
    """The texts in a claim: a list of them, or one with spaces between. Anything else names nothing."""
    if isinstance(claim, str):
        return claim.split()
    return [one for one in claim if isinstance(one, str)] if isinstance(claim, list) else []


def claim_at(claims: dict[str, Any], path: str) -> Any:
    """A claim by name; where there is none of this name, dots go inside, as in `realm_access.roles`."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def guarded(*roles: Role, tenants: TenantRule, answers: Answers = NONE) -> dict[str, Any]:
    """What a route declares: which roles may use it, and where its tenant is said. Both are checked, and documented.

    `answers`: what it answers besides what all do, for OpenAPI.
    """
    return {
        "dependencies": [Depends(_allowed(roles, tenants))],
        "openapi_extra": {"x-roles": list(roles), "x-tenants": tenants, "security": [{"bearer": []}, {"session": []}]},
        "responses": {**documented(400, 401, 403, 404, 408, 413, 422, 503), **answers},
    }


def _allowed(roles: tuple[Role, ...], tenants: TenantRule) -> Callable[[Request], None]:
    def allowed(request: Request) -> None:
        caller = caller_of(request)
        if not caller.is_any(*roles):
            raise Problem(403, f"This needs the role {' or '.join(roles)}.")
        if tenants == "path":
            caller.check(request.path_params["tenant_id"])
        elif tenants == "query":
            caller.only(request.query_params.get("tenant"))

    return allowed
