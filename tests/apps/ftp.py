"""A real FTP server over a folder, with TLS if it is given a certificate. It prints its port when it listens.

Rule: nothing of gzc or gevent.
"""

import logging
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

folder, *certificate = sys.argv[1:]
logging.basicConfig(level=logging.WARNING)
authorizer = DummyAuthorizer()
authorizer.add_user("user", "secret", folder, perm="elradfmw")
handler = TLS_FTPHandler if certificate else FTPHandler
handler.authorizer = authorizer
if certificate:
    handler.certfile, handler.keyfile = certificate
server = FTPServer(("127.0.0.1", 0), handler)
print(f"port {server.address[1]}", flush=True)
server.serve_forever()
