"""HTTP, rendered from what the rooms below say.

In come requests; out go answers that a probe, a program or a person reads. Nothing is decided here. Read in this order:

    listening, health   a server in our own event loop; `/livez`, `/readyz` and `/metrics` of a worker
    gate                before a request is read: who asks, how long it may be, what every answer carries
    tokens, sign_in     programs by bearer tokens; people by an OpenID provider, or by the link that is printed
    access, problems    roles and tenants, declared by every route; errors as problem details
    api/, console/      `/v1` for programs; pages for people
    site                all of it as one application
"""
