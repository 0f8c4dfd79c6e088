"""A metadata API that checks who asks as Nova's does (nova/api/metadata/handler.py), with one answer for each instance.

usage: nova.py ADDRESS PORT SECRET [CERTIFICATE KEY CLIENT-CA]
"""

import hashlib
import hmac
import http.server
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other, and the body would wait for the head's acknowledgement.
    disable_nagle_algorithm = True

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        status, text = self.answer(body)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def answer(self, body):
        # Nova takes requests of load balancers, which have this field, by another way.
        if "X-Metadata-Provider" in self.headers:
            return 400, "provider\n"
        instance = self.headers.get_all("X-Instance-ID", [])
        tenant = self.headers.get_all("X-Tenant-ID", [])
        signature = self.headers.get_all("X-Instance-ID-Signature", [])
        address = self.headers.get_all("X-Forwarded-For", [])
        if len(instance) != 1 or len(tenant) != 1 or len(address) != 1:
            return 400, "X-Instance-ID, X-Tenant-ID or X-Forwarded-For is missing\n"
        expected = hmac.new(SECRET, instance[0].encode(), hashlib.sha256).hexdigest()
        if len(signature) != 1 or not hmac.compare_digest(expected, signature[0]):
            return 403, "Invalid proxy request signature.\n"
        return 200, " ".join([self.command, self.path, instance[0], tenant[0], address[0], str(len(body))]) + "\n"

    def log_message(self, *_):
        pass


ADDRESS, PORT, SECRET = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Handler)
server.request_queue_size = 128
server.socket.listen(128)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    context.load_verify_locations(sys.argv[6])
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
