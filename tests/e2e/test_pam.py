#!/usr/bin/python3
"""pam_lapse.so in programs that Lapse did not write: Debian's pamtester, sudo and sshd, with a real agent and a real cluster.

Runs in a mount namespace of its own, where /etc/pam.d and /etc/sudoers are private: nothing of this machine's configuration is touched, whatever
becomes of this process. That takes root."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

import harness
from harness import BUILD, Cluster, LAPSE, eventually, free_ports

import grpc

MODULE = BUILD / "client" / "pam_lapse.so"
RECEIVED_WAIT, ENFORCED_WAIT = 1, 2
ENFORCED, FAILED, LAPSED = 1, 2, 3
TOOL, TOOL_RUNS_ON = "lapse-test-tool", "lapse-test-runs-on"
USER = "nobody"  # who invokes sudo; exists everywhere

# A shell with children of all kinds: plain, of another session, orphaned, deaf to signals. Each writes its pid.
SESSION = """
echo $$ >>{pids}
sh -c 'echo $$ >>{pids}; exec sleep 1000' &
setsid sh -c 'echo $$ >>{pids}; exec sleep 1000' &
(setsid sh -c 'trap "" HUP TERM; echo $$ >>{pids}; while :; do sleep 1; done' &)
wait
"""


def is_alive(pid):
    """A zombie does nothing any more."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Agent:
    def __init__(self, cluster):
        self.cluster, self.dir = cluster, cluster.dir
        self.socket, self.state, self.log_path = self.dir / "local.sock", self.dir / "sessions", self.dir / "agent.log"
        self.http_port, = free_ports(1)
        self.process = None
        self.write_config()

    def write_config(self, lease_ms=3000, more=""):
        certificate, key, ca = self.cluster.pki.files("proxy1")
        (self.dir / "agent.conf").write_text(f"""
[cluster]
endpoints = {",".join(node.endpoint for node in self.cluster.nodes)}
certificate = {certificate}
key = {key}
authorities = {ca}
[point]
id = host1
scope = host/*
lease-ms = {lease_ms}
[http]
listen = 127.0.0.1:{self.http_port}
[local]
listen = unix:{self.socket}
state = {self.state}
{more}
""")

    def start(self, *prefix):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*prefix, str(LAPSE), "agent", "--config", str(self.dir / "agent.conf")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually("the agent decides", self.is_ready)
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log()[-3000:]
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self, sig=signal.SIGTERM):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sig)
        code = self.process.wait(harness.PATIENCE_S)
        self.process = None
        assert sig != signal.SIGTERM or code == 0, f"the agent exited {code}:\n{self.log()[-4000:]}"

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def say(self, text):
        """What the agent answers to one datagram."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(60)
            s.connect(str(self.socket))
            s.send(text if isinstance(text, bytes) else json.dumps(text).encode())
            return json.loads(s.recv(65536))


class Session:
    """A program that runs in a session of PAM, and its processes."""

    def __init__(self, test, name, *args, **kwargs):
        self.test = test
        self.pids_path = test.cluster.dir / f"pids-{name}"
        self.pids_path.write_text("")
        self.pids_path.chmod(0o666)
        script = SESSION.format(pids=self.pids_path)
        self.process = subprocess.Popen([*args, script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
        test.addCleanup(self.clean)
        eventually("the session runs", self.runs)

    def runs(self):
        assert self.process.poll() is None, self.process.communicate()[0]
        return len(self.pids()) == 4

    def pids(self):
        return [int(line) for line in self.pids_path.read_text().split()]

    def alive(self):
        return [pid for pid in self.pids() if is_alive(pid)]

    def clean(self):
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.stdout.close()
        self.process.wait(harness.PATIENCE_S)


class PamTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.cluster.dir.chmod(0o755)
        cls.agent = Agent(cls.cluster)
        cls.addClassCleanup(cls.agent.stop)
        cls.addClassCleanup(lambda: os.environ.get("LAPSE_LOGS") and print(cls.agent.log(), file=sys.stderr))
        cls.write_services()
        cls.agent.start()

    @classmethod
    def write_services(cls):
        def line(kind, user, resource, action, more=""):
            return f"{kind} required {MODULE} socket={cls.agent.socket} subject=spiffe://{harness.DOMAIN}/user/{user} resource={resource} action={action} {more}\n"

        def service(name, user, resource, action, more="", head=""):
            lines = [line(kind, user, resource, action, more) for kind in ("account", "session")]
            pathlib.Path("/etc/pam.d", name).write_text(head + "auth required pam_permit.so\n" + "".join(lines))

        service(TOOL, "%u", "host/%h", "login")
        service(TOOL_RUNS_ON, "%i", "host/runs-on", "sudo", "end_sessions=no")
        service("lapse-test-sudo", "%i", "host/web1", "sudo")
        service("lapse-test-counted", "%i", "host/counted", "sudo")
        service("lapse-test-wrong", "%u", "host/%h", "login", "end_session=yes")
        service("sshd", "%u", "host/ssh", "ssh")
        # One user of sudo for each service.
        pathlib.Path("/etc/sudoers").write_text(f"""
{USER} ALL=(ALL:ALL) NOPASSWD: ALL
daemon ALL=(ALL:ALL) NOPASSWD: ALL
games ALL=(ALL:ALL) NOPASSWD: ALL
Defaults:{USER} pam_service=lapse-test-sudo
Defaults:daemon pam_service=lapse-test-counted
Defaults:games pam_service={TOOL_RUNS_ON}
""")

    # --- Grants

    def grant(self, user, resource, action, duration_ms=600_000, **fields):
        """Active, and known to the agent."""
        asked = self.cluster.grants("dev1", "Request", subject=f"spiffe://{harness.DOMAIN}/user/{user}", resource=resource, actions=[action],
                                    justification="look at the disk", duration_ms=duration_ms, **fields)
        grant = self.cluster.grants("oncall", "Approve", grant_id=asked.grant.id, comment="go ahead").grant
        self.agent.say({"op": "check", "subject": "user:x", "resource": resource, "action": action, "revision": grant.revision})
        self.addCleanup(self.revoke_quietly, grant)
        return grant

    def revoke_quietly(self, grant):
        try:
            self.cluster.grants("operator", "Revoke", grant_id=grant.id, reason="the test is over", wait=RECEIVED_WAIT)
        except grpc.RpcError:
            pass  # ended already

    def revoke(self, grant, **fields):
        return self.cluster.grants("oncall", "Revoke", grant_id=grant.id, reason="no longer needed", wait=ENFORCED_WAIT, **fields).barrier

    def receipts(self, grant):
        answer = self.cluster.call("operator", "Enforcement", "GetBarrier", grant_id=grant.id)
        return {(receipt.point, receipt.level): receipt.reason for receipt in answer.receipts}

    # --- Programs

    def pamtester(self, service, user, *operations):
        done = subprocess.run(["pamtester", service, user, *operations], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=harness.PATIENCE_S)
        return done.returncode, done.stdout

    def sudo(self, *command, user=USER):
        done = subprocess.run(["sudo", "-n", *command], user=user, group="nogroup", extra_groups=[], cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=harness.PATIENCE_S)
        return done.returncode, done.stdout

    def sudo_session(self, name, user=USER, target="root"):
        return Session(self, name, "sudo", "-n", "-u", target, "sh", "-c", user=user, group="nogroup", extra_groups=[], cwd="/")

    # --- Who gets in

    def test_without_a_grant_nobody_gets_in_and_is_told_why(self):
        host = socket.gethostname().lower()
        code, said = self.pamtester(TOOL, "dev1", "acct_mgmt")
        self.assertNotEqual(code, 0)
        self.assertIn(f"no active grant for login on host/{host}", said)
        self.assertIn("lapse request", said)
        code, said = self.pamtester(TOOL, "dev1", "open_session")
        self.assertNotEqual(code, 0, "a session was opened without a grant")
        code, said = self.sudo("id", "-u")
        self.assertEqual((code != 0, "no active grant for sudo on host/web1" in said), (True, True), said)

    def test_with_a_grant_the_person_gets_in_and_nobody_else(self):
        self.grant("dev1", f"host/{socket.gethostname().lower()}", "login")
        self.assertEqual(self.pamtester(TOOL, "dev1", "acct_mgmt", "open_session", "close_session")[0], 0)
        for user in ("dev2", "dev1/x", "../dev1", "dev1 ", "*"):
            self.assertNotEqual(self.pamtester(TOOL, user, "acct_mgmt")[0], 0, user)

    def test_a_wrong_argument_lets_nobody_in(self):
        self.grant("dev1", f"host/{socket.gethostname().lower()}", "login")
        self.assertNotEqual(self.pamtester("lapse-test-wrong", "dev1", "acct_mgmt")[0], 0)
        self.assertNotEqual(self.pamtester("lapse-test-wrong", "dev1", "open_session")[0], 0)

    def test_the_grant_of_sudo_is_the_invoking_users(self):
        self.grant(USER, "host/web1", "sudo")
        self.assertEqual(self.sudo("id", "-u"), (0, "0\n"))
        self.assertEqual(self.sudo("-u", "daemon", "id", "-un"), (0, "daemon\n"))

    def test_a_counted_grant_is_spent_once_for_account_and_session(self):
        self.grant("daemon", "host/counted", "sudo", max_uses=3)
        self.assertEqual(self.sudo("true", user="daemon")[0], 0)
        self.assertEqual(self.sudo("true", user="daemon")[0], 0)
        self.sudo("true", user="daemon")  # the last use ends the grant, and so this session, perhaps before it is over
        self.assertNotEqual(self.sudo("true", user="daemon")[0], 0)

    def test_without_the_agent_nobody_gets_in(self):
        self.grant(USER, "host/web1", "sudo")
        self.agent.stop(signal.SIGKILL)
        try:
            code, said = self.sudo("id", "-u")
            self.assertNotEqual(code, 0)
            self.assertIn("can't be found out", said)
        finally:
            self.agent.start()
        self.assertEqual(self.sudo("id", "-u"), (0, "0\n"))

    def test_an_agent_that_hangs_lets_nobody_in(self):
        self.grant(USER, "host/web1", "sudo")
        self.agent.process.send_signal(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{self.agent.process.pid}/task")
        eventually("all its threads are stopped", lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()))
        try:
            self.assertNotEqual(self.sudo("id", "-u")[0], 0)
        finally:
            self.agent.process.send_signal(signal.SIGCONT)
        eventually("the agent decides again", self.agent.is_ready)

    # --- Who has to go

    def test_an_enforced_revocation_leaves_no_process_of_the_session(self):
        grant = self.grant(USER, "host/web1", "sudo")
        session = self.sudo_session("revoked")
        began = time.monotonic()
        barrier = self.revoke(grant)
        left = session.alive()
        took = time.monotonic() - began
        self.assertEqual(left, [], "the revocation was enforced, and processes of the session live")
        self.assertEqual((barrier.enforced, barrier.failed), (barrier.points, 0))
        self.assertEqual(set(self.receipts(grant)), {("host1", ENFORCED)})
        session.process.wait(harness.PATIENCE_S)
        self.assertNotEqual(self.sudo("id", "-u")[0], 0)
        print(f"revoked; a session with a process that ignores signals was gone after {took:.2f} s", flush=True)

    def test_a_session_ends_fast_when_its_processes_heed_signals(self):
        grant = self.grant(USER, "host/web1", "sudo")
        ready, writer = os.pipe()
        process = subprocess.Popen(["sudo", "-n", "sh", "-c", "echo; exec sleep 1000"], user=USER, group="nogroup", extra_groups=[], cwd="/",
                                   stdin=subprocess.DEVNULL, stdout=writer)
        self.addCleanup(process.wait)
        os.close(writer)
        os.read(ready, 1)
        os.close(ready)
        began = time.monotonic()
        self.revoke(grant)
        print(f"revoked; a session of sleep was gone after {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
        self.assertIsNotNone(process.wait(harness.PATIENCE_S))

    def client(self, user, resource, then):
        """A program of our own that begins a session, and then does as it is told."""
        begin = {"op": "session_begin", "subject": f"spiffe://{harness.DOMAIN}/user/{user}", "resource": resource, "action": "login", "end_processes": True}
        code = ("import json, os, socket, sys, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); "
                f"s.send(sys.argv[2].encode()); print(json.loads(s.recv(4096))['permit'], flush=True); {then}")
        process = subprocess.Popen([sys.executable, "-c", code, str(self.agent.socket), json.dumps(begin)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "True\n")
        return process

    def test_a_client_that_has_started_nothing_yet_has_to_go(self):
        """Else it would start its shell after the revocation had been enforced."""
        grant = self.grant("dev1", "host/early", "login")
        process = self.client("dev1", "host/early", "time.sleep(1000)")
        self.assertEqual(self.revoke(grant).failed, 0)
        self.assertFalse(is_alive(process.pid), "the revocation was enforced, and the client of the session lives")

    def test_a_client_that_starts_something_while_it_is_ended_has_to_go(self):
        grant = self.grant("dev1", "host/late", "login")
        process = self.client("dev1", "host/late", "time.sleep(0.3); p = os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '1000'); print(p, flush=True); time.sleep(1000)")
        self.assertEqual(self.revoke(grant).failed, 0)
        child = process.stdout.readline().strip()
        self.assertFalse(child and is_alive(child), "the revocation was enforced, and a process of the session lives")
        self.assertFalse(is_alive(process.pid))

    def test_a_session_that_starts_processes_all_the_time_is_ended(self):
        grant = self.grant("dev1", "host/busy", "login")
        marker = f"{1000 + os.getpid()}.5"
        loop = f"trap '' HUP TERM; while :; do sleep {marker} & sleep 0.05; done"
        self.client("dev1", "host/busy", f"os.spawnlp(os.P_NOWAIT, 'sh', 'sh', '-c', \"{loop}\"); time.sleep(1000)")
        eventually("it starts processes", lambda: self.running(marker) > 3)
        self.assertEqual(self.revoke(grant).failed, 0)
        self.assertEqual(self.running(marker), 0)

    @staticmethod
    def running(word):
        """How many processes have this argument."""
        found = 0
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                found += word.encode() in (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                pass  # it has ended
        return found

    def test_a_session_ends_at_the_grants_deadline(self):
        self.grant(USER, "host/web1", "sudo", duration_ms=5000)
        session = self.sudo_session("expired")
        eventually("the session is gone", lambda: not session.alive())

    def test_other_processes_live_on(self):
        grant = self.grant(USER, "host/web1", "sudo")
        bystander = subprocess.Popen(["sleep", "1000"], user=USER)
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        self.grant("games", "host/runs-on", "sudo")
        other = self.sudo_session("other", user="games")
        self.sudo_session("ending")
        self.revoke(grant)
        self.assertIsNone(bystander.poll())
        self.assertEqual(len(other.alive()), 4)

    def test_a_closed_session_is_over(self):
        grant = self.grant(USER, "host/web1", "sudo")
        self.assertEqual(self.sudo("true")[0], 0)
        eventually("no session is known", lambda: not list(self.agent.state.glob("*.json")))
        self.assertEqual(self.revoke(grant).failed, 0)

    def test_a_session_whose_client_is_killed_is_over(self):
        grant = self.grant(USER, "host/web1", "sudo")
        session = self.sudo_session("orphaned")
        eventually("the session is known", lambda: list(self.agent.state.glob("*.json")))
        session.process.send_signal(signal.SIGKILL)
        eventually("no session is known", lambda: not list(self.agent.state.glob("*.json")))
        self.assertEqual(self.revoke(grant).failed, 0)

    def test_a_session_that_is_left_to_run_is_told_as_failed(self):
        grant = self.grant("games", "host/runs-on", "sudo")
        session = self.sudo_session("left", user="games")
        with self.assertRaises(grpc.RpcError) as caught:
            self.revoke(grant)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.ABORTED)
        self.assertIn("end_sessions=no", self.receipts(grant)["host1", FAILED])
        self.assertEqual(len(session.alive()), 4)

    def test_processes_that_can_not_be_ended_are_told_as_failed(self):
        self.agent.stop()
        self.agent.start("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")
        try:
            grant = self.grant(USER, "host/web1", "sudo")
            session = self.sudo_session("unkillable", target="daemon")
            with self.assertRaises(grpc.RpcError) as caught:
                self.revoke(grant)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.ABORTED)
            reason = self.receipts(grant)["host1", FAILED]
            self.assertIn("could not be ended: Operation not permitted", reason)
            self.assertTrue(session.alive())
        finally:
            self.agent.stop()
            self.agent.start()
        eventually("they are gone once the agent may end them", lambda: not session.alive())

    # --- The agent's restarts

    def test_a_session_outlives_the_agent_and_is_ended_by_the_next_one(self):
        grant = self.grant(USER, "host/web1", "sudo")
        session = self.sudo_session("adopted")
        self.agent.stop(signal.SIGKILL)
        barrier = self.revoke(grant)
        self.assertEqual(barrier.lapsed + barrier.left + barrier.enforced, barrier.points)
        self.assertEqual(len(session.alive()), 4, "nobody was there to end it")
        self.agent.start()
        eventually("the session is gone", lambda: not session.alive())

    def test_a_session_is_adopted_by_the_next_agent(self):
        grant = self.grant(USER, "host/web1", "sudo")
        for i, sig in enumerate((signal.SIGKILL, signal.SIGTERM)):
            session = self.sudo_session(f"adopted-{i}")
            self.agent.stop(sig)
            self.agent.start()
            eventually("it is adopted", lambda: self.agent.log().count("session adopted") > i)
            self.assertEqual(len(session.alive()), 4)
        barrier = self.revoke(grant)
        self.assertEqual((session.alive(), barrier.failed), ([], 0))

    # --- sshd

    def sshd(self):
        """Debian's, with keys and a port of its own."""
        home, (port,) = self.cluster.dir / "ssh", free_ports(1)
        home.mkdir()
        for name in ("host", "user"):
            harness.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name)
        config = home / "sshd_config"
        config.write_text(f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host
PidFile none
UsePAM yes
StrictModes no
PermitRootLogin prohibit-password
AuthorizedKeysFile {home}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
UseDNS no
""")
        log = open(home / "log", "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        ssh = ["ssh", "-F", "none", "-p", str(port), "-i", str(home / "user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
               f"UserKnownHostsFile={home}/known", "-o", "IdentitiesOnly=yes", "root@127.0.0.1"]

        def listens():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        eventually("sshd listens", listens)
        return ssh

    def test_ssh(self):
        ssh = self.sshd()
        done = harness.run(*ssh, "id -u", check=False)
        self.assertNotEqual(done.returncode, 0, "let in without a grant")
        self.assertIn("no active grant for ssh on host/ssh", done.stderr)
        grant = self.grant("root", "host/ssh", "ssh")
        self.assertEqual(harness.run(*ssh, "id -u").stdout, "0\n")
        session = Session(self, "ssh", *ssh)
        began = time.monotonic()
        barrier = self.revoke(grant)
        self.assertEqual(session.alive(), [], "the revocation was enforced, and processes of the session live")
        self.assertEqual(barrier.failed, 0)
        print(f"revoked; an ssh session was gone after {time.monotonic() - began:.2f} s", flush=True)
        session.process.wait(harness.PATIENCE_S)
        self.assertNotEqual(harness.run(*ssh, "id -u", check=False).returncode, 0)

    # --- The socket

    def test_the_socket_is_roots(self):
        self.assertEqual(self.agent.socket.stat().st_mode & 0o777, 0o600)
        code = "import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); sys.exit(s.connect_ex(sys.argv[1])!=0)"
        done = subprocess.run([sys.executable, "-c", code, str(self.agent.socket)], user=USER, cwd="/")
        self.assertNotEqual(done.returncode, 0)
        # Also where the file's mode would let somebody through.
        self.agent.socket.chmod(0o666)
        code = "import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); print(s.recv(4096).decode())"
        done = subprocess.run([sys.executable, "-c", code, str(self.agent.socket)], user=USER, cwd="/", stdout=subprocess.PIPE, text=True)
        self.agent.socket.chmod(0o600)
        self.assertEqual(json.loads(done.stdout)["error"], "PERMISSION_DENIED")

    def test_nonsense_is_answered_with_what_to_do(self):
        check = {"op": "check", "subject": "user:x", "resource": "host/web1", "action": "sudo"}
        for said, hint in (
            (b"{", "not a JSON object"),
            (b"[]", "not a JSON object"),
            ({}, "op must be"),
            ({**check, "op": "nothing"}, "op must be"),
            ({**check, "other": 1}, 'no member "other"'),
            ({**check, "address": "here"}, "IP address"),
            ({**check, "op": "session_begin"}, "end_processes"),
            ({**check, "op": "session_begin", "end_processes": "yes"}, "end_processes"),
            ({**check, "op": "session_begin", "end_processes": True, "description": "x\ny"}, "one line"),
            ({"op": "session_end"}, "session"),
            ({"op": "session_end", "session": "0" * 32}, "no session"),
            (b'{"op": "check", "op": "session_end"}', "duplicate"),
            (b"x" * 5000, "at most 4096 bytes"),
        ):
            answer = self.agent.say(said)
            self.assertIn("error", answer, said)
            self.assertIn(hint, answer["message"], said)
        answer = self.agent.say(check)
        self.assertEqual((answer["permit"], answer["reason"]), (False, "NO_GRANT"))

    def test_one_process_has_one_session(self):
        self.grant("dev1", "host/one", "login")
        begin = {"op": "session_begin", "subject": f"spiffe://{harness.DOMAIN}/user/dev1", "resource": "host/one", "action": "login", "end_processes": False}
        first = self.agent.say(begin)
        self.assertTrue(first["permit"], first)
        second = self.agent.say({**begin, "end_processes": True})
        self.assertEqual((second["permit"], second["reason"]), (False, "SESSION_REFUSED"), second)
        self.assertIn("has a session already", second["detail"])
        self.assertEqual(self.agent.say({"op": "session_end", "session": first["session"]}), {"ended": True})

    def test_clients_that_only_connect_shut_nobody_out_for_long(self):
        check = {"op": "check", "subject": "user:x", "resource": "host/web1", "action": "sudo"}
        idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(300)]
        try:
            for s in idle:
                s.connect(str(self.agent.socket))

            def served():
                try:
                    return self.agent.say(check).get("reason") == "NO_GRANT"
                except OSError:
                    return False
            eventually("the agent answers", served)
        finally:
            for s in idle:
                s.close()


def enter_private_mounts():
    """This process again, with /etc/pam.d and /etc/sudoers of its own."""
    for program in ("pamtester", "sudo", "/usr/sbin/sshd", "unshare", "setpriv"):
        if shutil.which(program) is None:
            print(f"{program} is not installed")
            sys.exit(77)
    if os.geteuid() != 0:
        print("only root can give itself private mounts of /etc/pam.d and /etc/sudoers")
        sys.exit(77)
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        print("this machine allows no mount namespaces (CAP_SYS_ADMIN is missing)")
        sys.exit(77)
    os.environ["LAPSE_PRIVATE_MOUNTS"] = "yes"
    script = ("mount -t tmpfs -o mode=755 lapse-test /etc/pam.d && install -m 440 /dev/null /etc/pam.d/sudoers && touch -a /etc/sudoers && "
              "mount --bind /etc/pam.d/sudoers /etc/sudoers && mkdir -p /run/sshd && exec \"$@\"")
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, *sys.argv])


if __name__ == "__main__":
    if os.environ.get("LAPSE_PRIVATE_MOUNTS") != "yes":
        enter_private_mounts()
    unittest.main(verbosity=2)
