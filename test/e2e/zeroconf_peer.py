"""The other side of the local network: zeroconf browses for Stargus servers, or announces some.

    zeroconf_peer.py browse ADDRESS            a JSON line for each event, until standard input ends
    zeroconf_peer.py announce ADDRESS SERVICES announces (JSON: [{name, port, address, txt: base64}]), says ready, until input ends
"""

import base64
import json
import sys

from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

TYPE = "_stargus._tcp.local."


def say(**event):
    print(json.dumps(event), flush=True)


class Listener(ServiceListener):
    def tell(self, kind, zc, name):
        info = zc.get_service_info(TYPE, name, 3000)
        if info is None:
            return say(event=kind, name=name)
        text = base64.b64encode(info.text).decode()
        say(event=kind, name=name, port=info.port, addresses=info.parsed_addresses(), txt=text, host=info.server)

    def add_service(self, zc, type_, name):
        self.tell("add", zc, name)

    def update_service(self, zc, type_, name):
        self.tell("update", zc, name)

    def remove_service(self, zc, type_, name):
        say(event="remove", name=name)


def main():
    mode, address = sys.argv[1:3]
    zc = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    if mode == "browse":
        ServiceBrowser(zc, TYPE, Listener())
        say(event="ready")
    else:
        for service in json.loads(sys.argv[3]):
            zc.register_service(
                ServiceInfo(
                    TYPE,
                    f"{service['name']}.{TYPE}",
                    port=service["port"],
                    properties=base64.b64decode(service["txt"]),
                    server=f"{service['host']}.local.",
                    parsed_addresses=[service["address"]],
                ),
                strict=False,
            )
        say(event="ready")
    sys.stdin.read()
    zc.close()


main()
