"""The suites of others: whatever passes under gevent alone must pass under gevent with gzc.

    python -m tests.nightly.conformance                     all suites
    python -m tests.nightly.conformance test_socket gunicorn

Monkey-patched tests of CPython fail for many reasons that are gevent's; only the difference is looked at.
"""
