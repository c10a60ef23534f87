"""gevent: waiting, the turns of a hub, claims."""
