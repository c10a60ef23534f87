"""For servers: a status page, Prometheus."""
