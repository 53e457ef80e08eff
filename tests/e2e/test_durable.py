#!/usr/bin/python3
"""G1 and G2 with real processes: kill -9 of each node in turn, and of all at once, under load, with the acknowledgements kept outside.

A round: some writers go on writing to whoever answers; one node (or all three) dies and starts again; then every acknowledged grant must be there in the
acknowledged state or a later one, at an unchanged revision, and the digests of all nodes must be equal.
"""

import os
import random
import threading
import time
import unittest
import uuid

from harness import Cluster, eventually, grpc, generated, messages, principal

ROUNDS = int(os.environ.get("LAPSE_KILL_ROUNDS", "100"))
WRITERS = 4


class Writer(threading.Thread):
    """Requests, approves and revokes, and records what was acknowledged."""

    def __init__(self, cluster, seed):
        super().__init__(daemon=True)
        self.cluster, self.random = cluster, random.Random(seed)
        self.acknowledged = {}  # grant id -> (state, revision of the acknowledgement)
        self.stopped = threading.Event()
        self.acks = 0

    def write(self, user, method, **fields):
        """Repeats one call with its request_id, on any node, until its outcome is known."""
        request = getattr(messages("grants"), {"Request": "RequestRequest", "Approve": "DecisionRequest", "Revoke": "EndRequest"}[method])
        message = request(request_id=str(uuid.uuid4()), **fields)
        while True:
            node = self.random.choice(self.cluster.nodes)
            try:
                answer = getattr(self.cluster.stub(user, "Grants", node), method)(message, timeout=5)
            except grpc.RpcError as error:
                known = error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
                if known:
                    raise
                time.sleep(0.01)
                continue
            self.acknowledged[answer.grant.id] = (answer.grant.state, answer.revision)
            self.acks += 1
            return answer.grant

    def run(self):
        while not self.stopped.is_set():
            grant = self.write("dev1", "Request", subject=principal("dev1"), resource=f"db/t{self.random.randrange(50)}",
                               actions=["read"], justification="load", duration_ms=3_600_000)
            self.write("oncall", "Approve", grant_id=grant.id)
            if self.random.random() < 0.7:
                self.write("operator", "Revoke", grant_id=grant.id, reason="end of load")
            time.sleep(0.005)


class Durable(unittest.TestCase):
    def check(self, cluster, acknowledged):
        node = random.choice(cluster.nodes)
        for grant_id, (state, revision) in acknowledged.items():
            answer = cluster.grants("auditor", "Get", node, grant_id=grant_id)
            self.assertGreaterEqual(answer.revision, revision)
            self.assertGreaterEqual(answer.grant.state, state, f"G1 broken: {grant_id} was acknowledged as {state}")
            if answer.grant.state == state:
                self.assertLessEqual(answer.grant.revision, revision)

    def test_G1_durable_and_G2_one_history_through_kill_9(self):
        with Cluster() as cluster:
            writers = [Writer(cluster, seed) for seed in range(WRITERS)]
            for writer in writers:
                writer.start()
            checked = {}
            for round_ in range(ROUNDS):
                victims = cluster.nodes if round_ % 10 == 9 else [cluster.nodes[round_ % 3]]
                before = sum(w.acks for w in writers)
                eventually("some writes", lambda: sum(w.acks for w in writers) > before + 5)
                for node in victims:
                    node.kill()
                for node in victims:
                    node.start()
                for node in cluster.nodes:
                    eventually(f"node {node.id} ready again", node.is_ready)
                known = {}
                for writer in writers:
                    known.update(dict(writer.acknowledged))
                fresh = {g: a for g, a in known.items() if checked.get(g) != a}
                self.check(cluster, fresh)
                checked.update(fresh)
            for writer in writers:
                writer.stopped.set()
            for writer in writers:
                writer.join()
            known = {}
            for writer in writers:
                known.update(writer.acknowledged)
            self.check(cluster, known)
            state = cluster.assert_one_history()
            print(f"{ROUNDS} rounds of kill -9, {sum(w.acks for w in writers)} acknowledged writes, {len(known)} grants, "
                  f"all there; digest {state.digest} on all nodes at revision {state.revision}")


if __name__ == "__main__":
    generated()
    unittest.main()
