"""Twisted: a call in the reactor's thread pool per line."""

from twisted.internet import endpoints, reactor, threads
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from signing import sign


class Signer(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        deferred = threads.deferToThread(sign, line)
        deferred.addCallback(self.sendLine)


def listening(port):
    print(port.getHost().port, flush=True)


factory = Factory.forProtocol(Signer)
endpoint = endpoints.serverFromString(
    reactor, "tcp:0:interface=127.0.0.1"
)
endpoint.listen(factory).addCallback(listening)
reactor.run()
