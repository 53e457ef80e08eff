#!/usr/bin/python3
"""How a leader's end is found: its process is gone (at once), it hands over (no election by a hint), it is silent (the timeout)."""

import signal
import unittest

from harness import Cluster, eventually, generated

# So long that an election by the timeout can't be taken for one by a hint, however busy the machine is.
PATIENT = {"raft-election-timeout-ms": 5000, "raft-heartbeat-ms": 50}


def sum_of(nodes, metric):
    return sum(node.metric(metric) for node in nodes)


def early(nodes):
    return sum_of(nodes, "lapse_raft_early_elections_total")


class Failover(unittest.TestCase):
    def test_when_the_leaders_process_is_gone_nobody_waits_for_the_timeout(self):
        with Cluster(settings=PATIENT) as cluster:
            for _ in range(3):
                old = cluster.leader()
                term = cluster.status(old).term
                others = [node for node in cluster.nodes if node is not old]
                before = early(others)
                old.kill()
                cluster.request_active(node=others[0])
                leader = cluster.leader()
                self.assertIsNot(leader, old)
                self.assertGreater(cluster.status(leader).term, term)
                eventually("an election by the hint is counted", lambda: early(others) > before)
                for node in others:
                    self.assertIn("peer's process is gone", node.log())
                old.start()
                cluster.wait_ready()
            self.assertEqual(sum_of(cluster.nodes, "lapse_raft_early_wrong_total"), 0)
            cluster.assert_one_history()

    def test_the_end_of_a_follower_is_no_reason_for_an_election(self):
        with Cluster(settings=PATIENT) as cluster:
            leader, follower = cluster.leader(), cluster.followers()[0]
            term = cluster.status(leader).term
            for _ in range(3):
                follower.kill()
                cluster.request_active(node=leader)
                eventually("it is found", lambda: "peer's process is gone" in leader.log())
                follower.start()
                cluster.wait_ready()
            self.assertEqual(cluster.status(leader).term, term)
            self.assertEqual(sum_of(cluster.nodes, "lapse_raft_early_given_up_total"), 0)

    def test_a_leader_that_stops_in_order_hands_over(self):
        with Cluster(settings=PATIENT) as cluster:
            old = cluster.leader()
            term = cluster.status(old).term
            others = [node for node in cluster.nodes if node is not old]
            self.assertEqual(old.kill(signal.SIGTERM), 0)
            cluster.request_active(node=others[0])
            self.assertEqual(cluster.status(others[0]).term, term + 1, "one election, which the leader asked for")

    def test_a_leader_that_is_silent_is_waited_for(self):
        with Cluster() as cluster:
            old = cluster.leader()
            others = [node for node in cluster.nodes if node is not old]
            old.pause()
            cluster.request_active(node=others[0])
            self.assertEqual(sum_of(others, "lapse_raft_early_given_up_total"), 0)
            old.resume()
            cluster.wait_ready()
            cluster.assert_one_history()


if __name__ == "__main__":
    generated()
    unittest.main(verbosity=2)
