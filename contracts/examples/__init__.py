"""Services that stand downstream, as somebody would build them who knows nothing but the contracts."""
