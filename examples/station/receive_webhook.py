"""Receives parts by HTTP and checks that a station sent them: `SECRET=... python receive_webhook.py 9000 3`."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Prints what it gets."""

    def do_POST(self):
        """Take one part."""
        name, sent = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        body = self.rfile.read(int(self.headers["content-length"]))
        digest = hmac.new(os.environ["SECRET"].encode(), f"{name}.{sent}.".encode() + body, hashlib.sha256).digest()
        right = hmac.compare_digest(f"v1,{base64.b64encode(digest).decode()}", self.headers["webhook-signature"] or "")
        fresh = abs(time.time() - int(sent)) < 300  # an old one is somebody's copy
        self.send_response(204 if right and fresh else 400)
        self.end_headers()
        part = json.loads(body)
        print(part["serial"], part["verdict"] if right and fresh else "is not from our station", flush=True)


server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
for _ in range(int(sys.argv[2])):
    server.handle_request()
server.server_close()
