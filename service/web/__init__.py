"""HTTP, rendered from what the rooms below say.

In come requests; out go answers that a probe, a scraper or a person reads. Nothing is decided here.

    health   `/livez`, `/readyz` and `/metrics` of a worker, in its own event loop
"""
