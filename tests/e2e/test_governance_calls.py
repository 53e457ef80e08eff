#!/usr/bin/python3
"""The calls that change and list what governs, from clients that Lapse did not write: other encodings, broken ones, repeated ones, with tokens of other lists, by whom may
not, on every node. Each gets the documented code with words that help, and the nodes go on."""

import random
import time
import unittest
import uuid

from harness import Cluster, eventually, grpc, message, messages, principal, refused

C = grpc.StatusCode
USERS = ("operator", "auditor", "oncall", "dev1")
# What a client may be told; never INTERNAL, UNKNOWN, or that the node has gone.
DECENT = {C.OK, C.INVALID_ARGUMENT, C.OUT_OF_RANGE, C.NOT_FOUND, C.FAILED_PRECONDITION, C.ALREADY_EXISTS, C.PERMISSION_DENIED, C.RESOURCE_EXHAUSTED}


def field(number, value):
    """One field of a message, as the wire has it: bytes or a number below 2^63."""
    def varint(n):
        out = b""
        while n >= 128:
            out, n = out + bytes([n % 128 + 128]), n // 128
        return out + bytes([n])
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.objects = messages("objects")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def tearDown(self):
        for node in self.cluster.nodes:
            self.cluster.grants("auditor", "List", node, page_size=1)

    # --- calls

    def raw(self, path, payload, user="operator", node=None):
        """The bytes as they stand; returns the code and the words."""
        channel = self.cluster._cached(user, node or self.cluster.nodes[0])
        try:
            channel.unary_unary(f"/lapse.v1.{path}")(payload, timeout=60)
            return C.OK, ""
        except grpc.RpcError as error:
            return error.code(), error.details()

    def call(self, service, method, user="operator", node=None, **fields):
        return self.cluster.call(user, service, method, node, **fields)

    def rule(self, **fields):
        return {"name": "all", "requesters": ["*"], "resources": ["*"], **fields}

    def policy(self, name, **fields):
        return {"name": name, "rules": [self.rule()], **fields}

    def later_ms(self, hours=1):
        return int(time.time() * 1000) + hours * 3_600_000

    def changes(self, name):
        """Every change, in an order in which each succeeds: service, method, its fields, and fields of another content."""
        eligibility = {"name": name, "member": "user:somebody", "resources": ["db/*"], "reason": "on call", "expires_ms": self.later_ms(2)}
        campaign = {"name": name, "due_ms": self.later_ms(1), "reason": "the quarter"}
        lock = {"kind": self.objects.LOCK_RESOURCE, "target": f"web/{name}", "reason": "incident"}
        ended = {"name": name, "reason": "over"}
        return [
            ("Policies", "Apply", {"policy": self.policy(name)}, {"policy": self.policy(name, description="other")}),
            ("Policies", "Remove", ended, {**ended, "reason": "other"}),
            ("Eligibilities", "Put", {"eligibility": eligibility}, {"eligibility": {**eligibility, "reason": "other"}}),
            ("Eligibilities", "Certify", {"name": name, "expires_ms": self.later_ms(3), "comment": "needed"},
             {"name": name, "expires_ms": self.later_ms(3), "comment": "other"}),
            ("Eligibilities", "StartCampaign", {"campaign": campaign}, {"campaign": {**campaign, "reason": "other"}}),
            ("Eligibilities", "CloseCampaign", ended, {**ended, "reason": "other"}),
            ("Eligibilities", "Remove", ended, {**ended, "reason": "other"}),
            ("Locks", "Lock", {"lock": lock}, {"lock": {**lock, "reason": "other"}}),
            ("Locks", "Unlock", {"name": f"resource:web/{name}", "reason": "over"}, {"name": f"resource:web/{name}", "reason": "other"}),
            ("Locks", "Offboard", {"subject": f"user:{name}", "reason": "gone"}, {"subject": f"user:{name}", "reason": "other"}),
        ]

    # --- repeated

    def test_every_change_can_be_repeated_under_its_request_id_on_any_node_and_no_other_content_takes_its_place(self):
        for service, method, fields, other in self.changes("again"):
            with self.subTest(call=f"{service}.{method}"):
                key = str(uuid.uuid4())
                answers = [self.call(service, method, node=node, request_id=key, **fields) for node in self.cluster.nodes]
                self.assertEqual([answer.repeated_call for answer in answers], [False, True, True])
                self.assertEqual(len({answer.revision for answer in answers}), 1, "of the one event")
                for node in self.cluster.nodes:
                    with refused(self, C.ALREADY_EXISTS, "request_id"):
                        self.call(service, method, node=node, request_id=key, **other)

    def test_every_change_goes_through_each_node(self):
        for node in self.cluster.nodes:
            for service, method, fields, _ in self.changes(f"via-{node.id}"):
                with self.subTest(call=f"{service}.{method}", node=node.id):
                    self.assertGreater(self.call(service, method, node=node, **fields).revision, 0)

    # --- who may

    def test_only_operators_change_what_governs(self):
        for user in ("auditor", "oncall", "dev1"):
            for service, method, fields, _ in self.changes("denied"):
                with self.subTest(call=f"{service}.{method}", user=user), refused(self, C.PERMISSION_DENIED):
                    self.call(service, method, user=user, **fields)

    def test_who_may_list_what(self):
        allowed = {"Policies.List": {"operator", "auditor", "oncall"}, "Locks.List": {"operator", "auditor"},
                   "Eligibilities.List": {"operator", "auditor"}, "Eligibilities.ListCampaigns": {"operator", "auditor"},
                   "Reviews.List": {"operator", "auditor", "oncall"}}
        for path, users in allowed.items():
            service, method = path.split(".")
            for user in USERS:
                with self.subTest(call=path, user=user):
                    if user in users:
                        self.call(service, method, user=user)
                    else:
                        with refused(self, C.PERMISSION_DENIED):
                            self.call(service, method, user=user)

    # --- lists

    def test_pages_hold_everything_once_and_a_token_of_another_list_is_refused(self):
        names = sorted(f"page-{i}" for i in range(5))
        for name in [*names, "other"]:
            self.call("Eligibilities", "Put", eligibility={"name": name, "member": "user:dev9", "resources": ["db/*"], "reason": "x",
                                                           "expires_ms": self.later_ms()})
        seen, token = [], ""
        while True:
            page = self.call("Eligibilities", "List", page_size=2, prefix="page-", page_token=token)
            seen, token = seen + [e.name for e in page.eligibilities], page.next_page_token
            if not token:
                break
        self.assertEqual(seen, names)
        for token in ("other", "pag", "a", "~", "\u00e9"):
            with self.subTest(token=token), refused(self, C.INVALID_ARGUMENT, "page_token"):
                self.call("Eligibilities", "List", prefix="page-", page_token=token)
        self.assertEqual(list(self.call("Eligibilities", "List", prefix="page-", page_token="page-9").eligibilities), [])
        self.assertEqual(list(self.call("Eligibilities", "List", prefix="none-").eligibilities), [])
        with refused(self, C.OUT_OF_RANGE, "page_size"):
            self.call("Eligibilities", "List", page_size=1001)
        for fields in ({"prefix": "x" * 273}, {"page_token": "x" * 577}):
            with refused(self, C.INVALID_ARGUMENT):
                self.call("Eligibilities", "List", **fields)

    # --- waiting

    def test_what_has_no_barrier_is_not_waited_for(self):
        with refused(self, C.INVALID_ARGUMENT, "wait"):
            self.call("Locks", "Lock", lock={"kind": self.objects.LOCK_POINT, "target": "edge-9", "reason": "x"}, wait=2, wait_ms=100)
        for wait in (77, 2**32 - 1):
            with refused(self, C.INVALID_ARGUMENT, "wait"):
                self.call("Locks", "Offboard", subject="user:nobody", reason="x", wait=wait)
        locked = self.call("Locks", "Lock", lock={"kind": self.objects.LOCK_RESOURCE, "target": "web/none", "reason": "x"}, wait=2, wait_ms=1000)
        self.assertTrue(locked.barrier.done, "no point guards it")

    def test_a_policy_that_ends_what_it_disallows_is_repeated_with_the_same_outcome(self):
        grant = self.cluster.request_active(resource="ends/x")
        del grant
        key = str(uuid.uuid4())
        policy = self.policy("ends", end_disallowed=True)
        first = self.call("Policies", "Apply", request_id=key, policy=policy)
        again = self.call("Policies", "Apply", request_id=key, policy=policy)
        self.assertEqual((first.revision, again.repeated_call), (again.revision, True))
        eventually("it can be removed", lambda: self.removes("ends"))

    def removes(self, name):
        try:
            self.call("Policies", "Remove", name=name, reason="over")
            return True
        except grpc.RpcError as error:
            if error.code() != C.FAILED_PRECONDITION:
                raise
            return False

    # --- other encodings

    def test_what_protobuf_allows_and_no_writer_needs_is_taken_or_refused_with_reasons(self):
        rule = field(1, b"all") + field(4, b"*") + field(6, b"*")
        policy = field(1, b"raw") + field(7, rule)
        cases = {
            "as it should be": (field(2, policy), C.OK),
            "the request's fields in another order": (field(3, 0) + field(2, policy) + field(1, str(uuid.uuid4()).encode()), C.OK),
            "no policy": (b"", C.INVALID_ARGUMENT),
            "an empty policy": (field(2, b""), C.INVALID_ARGUMENT),
            "two policies": (field(2, policy) + field(2, policy), C.INVALID_ARGUMENT),
            "a policy that is a number": (field(2, 7), C.INVALID_ARGUMENT),
            "the policy's fields in another order": (field(2, field(7, rule) + field(1, b"raw")), C.INVALID_ARGUMENT),
            "a default value written out": (field(2, field(1, b"raw") + field(4, 0) + field(7, rule)), C.INVALID_ARGUMENT),
            "an empty message": (field(2, field(1, b"raw") + field(7, rule + field(14, b""))), C.INVALID_ARGUMENT),
            "a name twice": (field(2, field(1, b"raw") + field(1, b"raw") + field(7, rule)), C.INVALID_ARGUMENT),
            "an unknown field": (field(2, policy + field(99, 1)), C.INVALID_ARGUMENT),
            "the store's own member": (field(2, field(1, b"raw") + field(2, 5) + field(7, rule)), C.INVALID_ARGUMENT),
            "cut off": (field(2, policy)[:-1], C.INVALID_ARGUMENT),
            "text that is none": (field(2, field(1, b"raw") + field(3, b"\xff\xfe") + field(7, rule)), C.INVALID_ARGUMENT),
            "a number that is longer than it needs": (field(2, field(1, b"raw") + b"\x20\x81\x80\x00" + field(7, rule)), C.INVALID_ARGUMENT),
            "a thousand rules": (field(2, field(1, b"raw") + b"".join(field(7, field(1, b"r%d" % i) + rule[5:]) for i in range(1000))), C.INVALID_ARGUMENT),
            "a thousand patterns": (field(2, field(1, b"raw") + field(7, field(1, b"all") + 1000 * field(4, b"user:x*") + field(6, b"*"))),
                                    C.INVALID_ARGUMENT),
            "sixty thousand bytes": (field(2, field(1, b"raw") + field(3, b"x" * 60000) + field(7, rule)), C.INVALID_ARGUMENT),
            "deeper than anything": (field(2, field(1, b"raw") + field(7, nest(200))), C.INVALID_ARGUMENT),
        }
        for name, (payload, expected) in cases.items():
            for node in self.cluster.nodes:
                with self.subTest(case=name, node=node.id):
                    code, words = self.raw("Policies/Apply", payload, node=node)
                    self.assertEqual(code, expected, words)
                    self.assertTrue(code == C.OK or len(words) > 10, words)
        self.call("Policies", "Remove", name="raw", reason="over")

    def test_broken_bytes_get_an_error_and_break_nothing(self):
        """Valid requests of every method, changed at random: the seed is printed by a failure's subtest."""
        seed = random.randrange(2**32)
        dice = random.Random(seed)
        valid = [(f"{service}/{method}", message(service, method)(request_id="", **fields).SerializeToString())
                 for service, method, fields, _ in self.changes("broken")]
        valid += [(f"{service}/{method}", message(service, method)(page_size=3, prefix="a", page_token="ab").SerializeToString())
                  for service, method in (("Policies", "List"), ("Locks", "List"), ("Eligibilities", "List"), ("Eligibilities", "ListCampaigns"),
                                          ("Reviews", "List"))]
        valid.append(("Reviews/Close", message("Reviews", "Close")(grant_id="0" * 26, verdict=1, comment="x").SerializeToString()))
        for path, payload in valid:
            for i in range(25):
                broken = bytearray(payload)
                for _ in range(dice.randint(1, 3)):
                    at = dice.randrange(len(broken) + 1)
                    what = dice.randrange(3)
                    if what == 0 and at < len(broken):
                        broken[at] = dice.randrange(256)
                    elif what == 1:
                        broken[at:at] = dice.randbytes(dice.randint(1, 4))
                    else:
                        del broken[at:at + dice.randint(1, 8)]
                with self.subTest(path=path, seed=seed, i=i):
                    code, words = self.raw(path, bytes(broken))
                    self.assertIn(code, DECENT, words)
        self.cluster.assert_one_history()


def nest(depth):
    inner = b""
    for _ in range(depth):
        inner = field(12, inner)
    return inner


if __name__ == "__main__":
    unittest.main()
