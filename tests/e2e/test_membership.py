#!/usr/bin/python3
"""What an operator does when a node's disk is gone: out with the old id, in with a new one (docs/OPERATIONS.md)."""

import shutil
import unittest

from harness import LAPSED, Cluster, Node, eventually, grpc, free_ports, generated, messages, principal, refused, run


class Membership(unittest.TestCase):
    def change(self, cluster, method, **fields):
        """Only the leader changes the members; it may be another one by now."""
        def attempt():
            try:
                cluster.call("operator", "Cluster", method, cluster.leader(), timeout=10, **fields)
                return True
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                return False
        eventually(method, attempt)

    def newcomer(self, cluster, node_id):
        node = Node(cluster, node_id, free_ports(3))
        cluster.pki.issue(f"node{node_id}", f"lapse/node/{node_id}", ["127.0.0.1", "localhost"])
        identity = cluster.status(cluster.leader()).cluster
        run(LAPSED, "join", "--cluster", identity, "--node-id", node_id, "--data-dir", node.dir)
        members = cluster.members
        plain = node.flags
        node.flags = lambda: [*plain(), f"--node-join={members}"]
        return node

    def test_a_lost_node_is_replaced_under_a_new_id(self):
        with Cluster() as cluster:
            grants = [cluster.request_active(resource=f"m/r{i}").id for i in range(20)]
            lost = cluster.followers()[0]
            lost.kill()
            shutil.rmtree(lost.dir)
            self.change(cluster, "RemoveNode", node_id=lost.id)
            cluster.nodes.remove(lost)
            fresh = self.newcomer(cluster, 4)
            cluster.nodes.append(fresh)
            fresh.start()
            self.change(cluster, "AddNode", node_id=4, address=f"127.0.0.1:{fresh.peer_port}")

            def is_voter():
                status = cluster.try_status(cluster.alive()[0])
                return status and [n for n in status.nodes if n.id == 4 and n.role == "voter"]
            eventually("node 4 is a voter", is_voter)
            eventually("node 4 is ready", fresh.is_ready)
            for grant in grants:
                self.assertEqual(cluster.grants("auditor", "Get", fresh, grant_id=grant).grant.id, grant)
            cluster.assert_one_history()
            # It counts: with one of the old ones dead, the other and the new one go on.
            old = next(node for node in cluster.nodes if node.id != 4)
            old.kill()
            self.assertTrue(cluster.request_active(node=fresh).id)
            old.start()
            eventually("the old one is ready", old.is_ready)
            cluster.assert_one_history()

    def test_who_may_not_and_what_can_t_be(self):
        with Cluster() as cluster:
            leader = cluster.leader()
            with refused(self, grpc.StatusCode.PERMISSION_DENIED, "operator"):
                cluster.call("dev1", "Cluster", "RemoveNode", leader, timeout=10, node_id=2)
            with refused(self, grpc.StatusCode.NOT_FOUND, "9"):
                cluster.call("operator", "Cluster", "RemoveNode", leader, timeout=10, node_id=9)
            with refused(self, grpc.StatusCode.INVALID_ARGUMENT):
                cluster.call("operator", "Cluster", "AddNode", leader, timeout=10, node_id=5, address="nowhere")
            follower = cluster.followers()[0]
            with refused(self, grpc.StatusCode.UNAVAILABLE, f"ask node {leader.id}"):
                cluster.call("operator", "Cluster", "RemoveNode", follower, timeout=10, node_id=leader.id)

    def test_leadership_is_handed_to_the_node_that_is_named(self):
        with Cluster() as cluster:
            target = cluster.followers()[0]
            self.change(cluster, "TransferLeadership", node_id=target.id)
            eventually("it leads", lambda: cluster.leader() is target)


if __name__ == "__main__":
    generated()
    unittest.main()
