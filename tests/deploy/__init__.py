"""What deploy/ has: alerts, dashboard, image, chart."""
