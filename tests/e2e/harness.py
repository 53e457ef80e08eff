"""Real `lapsed` processes on loopback, and a gRPC client that Lapse did not write (Debian's grpcio).

A Cluster lives in one temporary directory: keys under pki/, a data directory, configuration and log per node. Every process is
started by this file and ended by its pid; `with Cluster() as cluster:` leaves nothing behind, not even after a failure.
Waiting has no time limits that a busy machine could miss: `eventually` gives up only after minutes.
"""

import contextlib
import fcntl
import importlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

# Before anything imports it: we start processes while calls are under way; grpcio's own handling of forks can leave its connections waiting for ever.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LAPSE_BUILD", ROOT / "build"))
LAPSED = BUILD / "node" / "lapsed"
LAPSE = BUILD / "client" / "lapse"
DOMAIN = "example.org"
PATIENCE_S = 180

USERS = {
    "operator": "user/operator",
    "dev1": "user/dev1",
    "dev2": "user/dev2",
    "oncall": "user/oncall",
    "proxy1": "workload/proxy1",
    "auditor": "user/auditor",
    "stranger": "user/stranger",
}
ROLES = {"dev1": ["requester"], "dev2": ["requester"], "oncall": ["approver"], "proxy1": ["enforcer"], "auditor": ["auditor"]}


def principal(user):
    return f"spiffe://{DOMAIN}/{USERS[user]}"


def eventually(what, attempt, pause_s=0.02):
    """Calls `attempt` until it returns something true, and returns that."""
    until = time.monotonic() + PATIENCE_S
    while True:
        value = attempt()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"never happened: {what}")
        time.sleep(pause_s)


PORTS_FIRST, PORTS_LAST, PORTS_BLOCK = 20000, 32000, 100
_ports = None  # the lock, the first port of our block, and how many were tried


def _lock_block():
    """A block of ports for this process alone: other runs of these tests on this machine take other ones."""
    blocks = range(PORTS_FIRST, PORTS_LAST, PORTS_BLOCK)
    # At random: a container with a /tmp of its own may share our network.
    for first in random.sample(blocks, len(blocks)):
        lock = open(pathlib.Path(tempfile.gettempdir()) / f"lapse-e2e-ports-{first}.lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock, first, 0
        except OSError:
            lock.close()
    raise AssertionError("no block of ports is free: are that many tests running?")


def _is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(n):
    """Ports below the ephemeral range, so that no outgoing connection takes one between a node's death and its restart."""
    global _ports
    lock, first, tried = _ports or _lock_block()
    ports = []
    while len(ports) < n:
        port = first + tried % PORTS_BLOCK
        tried += 1
        assert tried < 100 * PORTS_BLOCK, "this process's ports are all taken"
        if _is_free(port) and port not in ports:
            ports.append(port)
    _ports = lock, first, tried
    return ports


def run(*args, check=True, **kwargs):
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


class Pki:
    """Certificates by `lapse pki`."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        run(LAPSE, "pki", "init", "--dir", self.dir, "--domain", DOMAIN)

    def issue(self, name, path, hosts=()):
        args = [LAPSE, "pki", "issue", path, "--dir", self.dir, "--name", name]
        for host in hosts:
            args += ["--host", host]
        run(*args)

    def files(self, name):
        return self.dir / f"{name}.pem", self.dir / f"{name}.key", self.dir / "ca.pem"

    def credentials(self, name):
        certificate, key, ca = self.files(name)
        return grpc.ssl_channel_credentials(ca.read_bytes(), key.read_bytes(), certificate.read_bytes())


class Node:
    """`host`, `place`: where it lives, as an address and as a command in front of it (a network namespace)."""

    def __init__(self, cluster, node_id, ports, host="127.0.0.1", place=()):
        self.cluster, self.id, self.host, self.place = cluster, node_id, host, list(place)
        self.client_port, self.peer_port, self.http_port = ports
        self.dir = cluster.dir / f"node{node_id}"
        self.process = None
        self.starts = 0

    @property
    def endpoint(self):
        return f"{self.host}:{self.client_port}"

    def flags(self):
        certificate, key, ca = self.cluster.pki.files(f"node{self.id}")
        flags = {
            "node-id": self.id, "data-dir": self.dir, "listen-client": self.endpoint,
            "listen-peer": f"{self.host}:{self.peer_port}", "listen-http": f"{self.host}:{self.http_port}",
            "tls-certificate": certificate, "tls-key": key, "tls-authorities": ca, "log-format": "json",
            **self.cluster.settings,
        }
        return [f"--{key}={value}" for key, value in flags.items()]

    @property
    def log_path(self):
        return self.cluster.dir / f"node{self.id}.log"

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def start(self):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.place, str(LAPSED), *self.flags()], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.starts += 1
        return self

    def kill(self, sig=signal.SIGKILL):
        """Ends the process and returns its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(sig)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def wait_exit(self):
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def http(self, path):
        """(status, body); (0, "") when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.http_port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name):
        for line in self.http("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"node {self.id} exited {self.process.returncode}:\n{self.log()[-4000:]}")
        return self.http("/readyz")[0] == 200


class Cluster:
    def __init__(self, nodes=3, name="test", settings=None, roles=True, places=None):
        """`places`: (address, command) of each node."""
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lapse-e2e-"))
        self.settings = settings or {}
        self.name, self.with_roles = name, roles
        ports = free_ports(3 * nodes)
        places = places or [("127.0.0.1", ())] * nodes
        self.nodes = [Node(self, i + 1, ports[3 * i : 3 * i + 3], *places[i]) for i in range(nodes)]
        self.channels = []

    def __enter__(self):
        try:
            self.make()
            self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def make(self):
        self.pki = Pki(self.dir / "pki")
        for node in self.nodes:
            self.pki.issue(f"node{node.id}", f"lapse/node/{node.id}", [node.host, "localhost"])
        for name, path in USERS.items():
            self.pki.issue(name, path)
        for node in self.nodes:
            self.init(node)

    @property
    def members(self):
        return ",".join(f"{node.id}={node.host}:{node.peer_port}" for node in self.nodes)

    def init(self, node):
        run(LAPSED, "init", "--cluster", self.name, "--members", self.members, "--operator", principal("operator"),
            "--node-id", node.id, "--data-dir", node.dir)

    def start(self):
        for node in self.nodes:
            node.start()
        self.wait_ready()
        if self.with_roles:
            for user, roles in ROLES.items():
                self.call("operator", "Cluster", "SetRoles", request_id=f"roles-{user}",
                          binding={"member": principal(user), "roles": roles})

    def wait_ready(self):
        for node in self.nodes:
            eventually(f"node {node.id} is ready", node.is_ready)

    def __exit__(self, kind, value, trace):
        for channel in self.channels:
            channel.close()
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.kill()
        if kind is not None and os.environ.get("LAPSE_KEEP"):
            print(f"kept: {self.dir}", file=sys.stderr)
            return
        if kind is not None:
            for node in self.nodes:
                print(f"--- node {node.id}, end of its log\n{node.log()[-3000:]}", file=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- the command

    def lapse(self, user, *args, code=0, **kwargs):
        """`lapse` as this user, against all nodes; its exit code must be `code` (None: any). Returns what it did (stdout, stderr)."""
        certificate, key, ca = self.pki.files(user)
        env = {**os.environ, "LAPSE_ENDPOINTS": ",".join(node.endpoint for node in self.nodes), "LAPSE_CERTIFICATE": str(certificate),
               "LAPSE_KEY": str(key), "LAPSE_AUTHORITIES": str(ca), "LAPSE_TIMEOUT": f"{PATIENCE_S}s", "TZ": "UTC"}
        done = run(LAPSE, *args, check=False, env=env, **kwargs)
        assert code is None or done.returncode == code, f"lapse {' '.join(map(str, args))} exited {done.returncode}, not {code}:\n{done.stdout}{done.stderr}"
        return done

    def said(self, user, *args, code=0, node=None):
        """What `lapse` printed, or, when it has to fail, what it said; against `node` alone if one is named."""
        done = self.lapse(user, *args, *(["--endpoints", node.endpoint] if node else []), code=code)
        return done.stdout if code == 0 else done.stderr

    # --- gRPC

    def channel(self, user, node):
        channel = grpc.secure_channel(node.endpoint, self.pki.credentials(user),
                                      options=[("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1),
                                               ("grpc.max_receive_message_length", 8 << 20),
                                               ("grpc.initial_reconnect_backoff_ms", 100),
                                               # Despite its name: how long one attempt to connect may take.
                                               ("grpc.min_reconnect_backoff_ms", 20000),
                                               ("grpc.max_reconnect_backoff_ms", 500)])
        self.channels.append(channel)
        return channel

    def stub(self, user, service, node=None):
        return getattr(services(service), f"{service}Stub")(self._cached(user, node or self.nodes[0]))

    def renew(self, user, node):
        """A new channel after a failure. When all nodes die at once, Debian's grpcio now and then leaves a channel connecting for ever, without a
        byte sent, while a new one to the same port is served within milliseconds."""
        channel = self.__dict__.setdefault("_channels", {}).pop((user, node.id), None)
        if channel is not None:
            self.channels.remove(channel)
            channel.close()

    def _cached(self, user, node):
        cache = self.__dict__.setdefault("_channels", {})
        if (user, node.id) not in cache:
            cache[user, node.id] = self.channel(user, node)
        return cache[user, node.id]

    def call(self, user, service, method, node=None, timeout=PATIENCE_S, **fields):
        """One call to one node. Mutating calls are repeated with their request_id while their outcome is unknown."""
        request = message(service, method)(**fields)
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid.uuid4())
        until = time.monotonic() + timeout
        while True:
            try:
                return getattr(self.stub(user, service, node), method)(request, timeout=min(10, timeout))
            except grpc.RpcError as error:
                unknown = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
                if not unknown or time.monotonic() > until or timeout < PATIENCE_S:
                    raise
                self.renew(user, node or self.nodes[0])
                time.sleep(0.02)

    def grants(self, user, method, node=None, **fields):
        return self.call(user, "Grants", method, node, **fields)

    def request_active(self, node=None, duration_ms=600_000, resource="db/prod/orders", subject=None, **fields):
        """A grant for dev1 that oncall has approved."""
        asked = self.grants("dev1", "Request", node, subject=subject or principal("dev1"), resource=resource,
                            actions=["connect", "read"], justification="look at order 4711", duration_ms=duration_ms, **fields)
        return self.grants("oncall", "Approve", node, grant_id=asked.grant.id, comment="go ahead").grant

    def watch(self, user, node=None, **fields):
        return self.stub(user, "Grants", node).Watch(messages("grants").WatchRequest(**fields))

    # --- state

    def status(self, node, timeout=10):
        return self.stub("operator", "Cluster", node).Status(messages("cluster").StatusRequest(), timeout=timeout)

    def try_status(self, node):
        try:
            return self.status(node)
        except grpc.RpcError:
            return None

    def leader(self):
        """The node that a majority of the living ones call leader, once there is one."""
        def attempt():
            votes = {}
            for node in self.alive():
                status = self.try_status(node)
                if status is not None and status.leader_id:
                    votes[status.leader_id] = votes.get(status.leader_id, 0) + 1
            for leader_id, n in votes.items():
                node = next((node for node in self.alive() if node.id == leader_id), None)
                if node is not None and n > len(self.nodes) // 2:
                    return node
            return None
        return eventually("a leader", attempt)

    def alive(self):
        return [node for node in self.nodes if node.process is not None]

    def followers(self):
        leader = self.leader()
        return [node for node in self.alive() if node is not leader]

    def assert_one_history(self):
        """G2: equal digests at equal revision on all living nodes."""
        def attempt():
            states = [self.try_status(node) for node in self.alive()]
            if None in states or len({(s.revision, s.applied_index) for s in states}) != 1:
                return None
            return states
        states = eventually("all nodes at one revision", attempt)
        digests = {s.digest for s in states}
        assert len(digests) == 1, f"G2 broken: digests {digests} at revision {states[0].revision}"
        return states[0]


# --- generated code -----------------------------------------------------------------------------------------------------

_generated = None


def generated():
    """Stubs made from our .proto files by Debian's grpc tools, once a process."""
    global _generated
    if _generated is None:
        _generated = tempfile.mkdtemp(prefix="lapse-stubs-")
        protos = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").glob("lapse/v1/*.proto"))
        protos += sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").glob("grpc/*/*/*.proto"))
        # Not below "grpc": that is the library's own package.
        code = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={_generated}", f"--grpc_python_out={_generated}",
                            *[p for p in protos if p.startswith("lapse/")]])
        assert code == 0
        sys.path.insert(0, _generated)
        import atexit
        atexit.register(shutil.rmtree, _generated, ignore_errors=True)
    return _generated


_files = {"Grants": "grants", "Cluster": "cluster", "Enforcement": "enforcement", "Policies": "governance", "Locks": "governance",
          "Eligibilities": "governance", "Reviews": "governance", "Audit": "audit"}


def messages(file):
    generated()
    return importlib.import_module(f"lapse.v1.{file}_pb2")


def services(service):
    generated()
    return importlib.import_module(f"lapse.v1.{_files[service]}_pb2_grpc")


def message(service, method):
    """The request type of a method, from the descriptor."""
    file = messages(_files[service]).DESCRIPTOR
    name = file.services_by_name[service].methods_by_name[method].input_type.name
    return getattr(messages(_files[service]), name)


@contextlib.contextmanager
def refused(test, code, *words):
    """The block's call fails with `code`, and its message has all `words`."""
    with test.assertRaises(grpc.RpcError) as caught:
        yield
    error = caught.exception
    test.assertEqual(error.code(), code, error.details())
    for word in words:
        test.assertIn(word, error.details())
