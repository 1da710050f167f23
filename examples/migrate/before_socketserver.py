"""A thread per connection."""

import socketserver

from signing import sign


class Handler(socketserver.StreamRequestHandler):
    def setup(self):
        super().setup()
        self.lines = 0  # of this connection

    def handle(self):
        for line in self.rfile:
            self.lines += 1
            reply = sign(line.removesuffix(b"\n"))
            number = b"%d " % self.lines
            self.wfile.write(number + reply + b"\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
