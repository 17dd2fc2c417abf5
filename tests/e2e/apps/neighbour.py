"""A neighbour in the local network that speaks multicast DNS; one JSON object a line.

    neighbour.py browse                  tells what is served: `told`, `changed`, `gone`; a line of
                                         standard input is `asked HOST`, which the network is asked
                                         unless it is known, or `known HOST`, which asks nobody
    neighbour.py claim HOST ADDRESS      is that host until its standard input ends

It ends with its standard input.
"""

import json
import socket
import sys
import threading

from zeroconf import AddressResolver, DNSAddress, DNSIncoming, DNSOutgoing
from zeroconf import IPVersion, ServiceBrowser, Zeroconf

KINDS = ["_http._tcp.local.", "_https._tcp.local."]
lock = threading.Lock()


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


class Listener:
    def add_service(self, net, kind, name):
        self.tell("told", net, kind, name)

    def update_service(self, net, kind, name):
        self.tell("changed", net, kind, name)

    def remove_service(self, net, kind, name):
        say(event="gone", name=name)

    def tell(self, event, net, kind, name):
        info = net.get_service_info(kind, name, timeout=3000)
        if info is None:
            say(event="nothing", name=name)
            return
        say(
            event=event,
            name=name,
            host=info.server,
            port=info.port,
            addresses=sorted(info.parsed_scoped_addresses()),
            path=(info.properties.get(b"path") or b"").decode(),
        )


def browse(net):
    ServiceBrowser(net, KINDS, Listener())
    say(event="ready")
    for line in sys.stdin:
        question, host = line.split()
        found = AddressResolver(host)
        if question == "known":
            found.load_from_cache(net)
        else:
            found.request(net, 1500)
        say(event="host", host=host, addresses=sorted(found.parsed_scoped_addresses(IPVersion.All)))


def claim(net, host, address):
    """Answers for a host, whatever is asked about it: that is how it is defended (RFC 6762, 8.1)."""
    address = socket.inet_aton(address)

    def answers():
        while True:
            question = DNSIncoming(port.recv(9000))
            asked = {one.name.lower() for one in question.questions}
            if question.is_query() and host in asked:
                answer = DNSOutgoing(RESPONSE)
                answer.add_answer_at_time(DNSAddress(host, A, IN | UNIQUE, 120, address), 0)
                port.sendto(answer.packets()[0], GROUP)

    group = socket.inet_aton(GROUP[0]) + address
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        port.setsockopt(socket.SOL_SOCKET, option, 1)
    port.bind(("", GROUP[1]))
    port.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    port.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)
    threading.Thread(target=answers, daemon=True).start()
    say(event="ready")
    sys.stdin.read()


GROUP = ("224.0.0.251", 5353)
RESPONSE, A, IN, UNIQUE = 0x8400, 1, 1, 0x8000

with_network = {"browse": browse, "claim": claim}
zeroconf = Zeroconf(ip_version=IPVersion.All)
try:
    with_network[sys.argv[1]](zeroconf, *sys.argv[2:])
finally:
    zeroconf.close()
