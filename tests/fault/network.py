"""A network of its own for a test: every node and every enforcement point lives in a namespace with one address on a bridge, and any direction between any two of
them can be cut. Nothing of it is seen outside, and it ends with the test.

A cut is silent, as a broken network is: who is cut sends its packets to an address on the wire that nobody has. No error comes back, and connections stay open.
"""

import os
import subprocess
import sys
import time

BRIDGE = "10.77.0.254"
NOBODY = "02:00:00:00:00:01"
SKIPPED = 77  # meson's


def enter():
    """Starts this program again in a network namespace; skips it where that is not allowed."""
    if os.environ.get("LAPSE_IN_NAMESPACE"):
        return
    for unshare in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if subprocess.run([*unshare, "ip", "link", "add", "br0", "type", "bridge"], capture_output=True).returncode == 0:
            os.execvpe(unshare[0], [*unshare, sys.executable, *sys.argv], {**os.environ, "LAPSE_IN_NAMESPACE": "1"})
    print("skipped: network namespaces need root, or unprivileged user namespaces")
    sys.exit(SKIPPED)


def ip(*args, place=()):
    subprocess.run([*place, "ip", *args], check=True)


class Place:
    """One machine, so to speak."""

    def __init__(self, number):
        self.address, self.port = f"10.77.0.{number}", f"port{number}"
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.command = ["nsenter", f"--target={self.holder.pid}", "--net"]
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.001)
        ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        ip("link", "set", self.port, "master", "br0", "up")
        ip("link", "set", "lo", "up", place=self.command)
        ip("address", "add", f"{self.address}/24", "dev", "eth0", place=self.command)
        ip("link", "set", "eth0", "up", place=self.command)
        self.cut_from = set()

    def cut(self, other):
        """What it sends to the other one is lost from now on."""
        ip("neigh", "replace", other.address, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0", place=self.command)
        self.cut_from.add(other)

    def heal(self):
        for other in self.cut_from:
            ip("neigh", "del", other.address, "dev", "eth0", place=self.command)
        self.cut_from.clear()

    def close(self):
        ip("link", "del", self.port)
        self.holder.kill()
        self.holder.wait()


class Network:
    def __init__(self, places):
        ip("link", "set", "lo", "up")
        if subprocess.run(["ip", "link", "show", "br0"], capture_output=True).returncode != 0:
            ip("link", "add", "br0", "type", "bridge")
            ip("address", "add", f"{BRIDGE}/24", "dev", "br0")
            ip("link", "set", "br0", "up")
        self.places = [Place(i + 1) for i in range(places)]

    def cut(self, some, others, there=True, back=True):
        for a in some:
            for b in others:
                if there:
                    a.cut(b)
                if back:
                    b.cut(a)
        return time.monotonic_ns()

    def heal(self):
        for place in self.places:
            place.heal()

    def close(self):
        for place in self.places:
            place.close()
