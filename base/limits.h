/* Every limit of Lapse by name, with its reason (guarantee G8). Sizes are in bytes without a terminating NUL. */
#ifndef LAPSE_BASE_LIMITS_H
#define LAPSE_BASE_LIMITS_H

/* Identities and paths. SPIFFE allows 2048; nothing seen in practice passes 256, and each is held per grant. */
#define LIMIT_PRINCIPAL 256
#define LIMIT_SUBJECT 256
#define LIMIT_RESOURCE 256
#define LIMIT_ACTION 32
#define LIMIT_ACTIONS 16

/* What people write. Long enough for a sentence and a link, short enough for a million of them. */
#define LIMIT_JUSTIFICATION 1024
#define LIMIT_REASON 512
#define LIMIT_TICKET 128
#define LIMIT_TASK 128
#define LIMIT_POLICY 64

#define LIMIT_LABELS 16
#define LIMIT_LABEL_KEY 63
#define LIMIT_LABEL_VALUE 255

/* An approval chain longer than this is a committee. */
#define LIMIT_APPROVALS 8

/* Binding: source networks in CIDR form (the longest IPv6 one has 43 characters). */
#define LIMIT_NETWORKS 8
#define LIMIT_NETWORK 43

/* Approval in steps, and the patterns of principals of one step (or of the reviewers) with a space between each: they are
 * kept with every grant. */
#define LIMIT_STEPS 4
#define LIMIT_STEP_PATTERNS 512

/* A caller's idempotency key: a UUID fits twice. */
#define LIMIT_REQUEST_ID 64

/* Time. A grant is for a task, not for a season. */
#define LIMIT_DURATION_MS_MAX (30LL * 24 * 3600 * 1000)
#define LIMIT_NOT_BEFORE_AHEAD_MS_MAX (90LL * 24 * 3600 * 1000)
/* An undecided request lapses after this, or earlier if it says so. */
#define LIMIT_PENDING_MS_DEFAULT (24LL * 3600 * 1000)
#define LIMIT_PENDING_MS_MAX (7LL * 24 * 3600 * 1000)
#define LIMIT_USES_MAX 1000000000u

/* The store. Live grants bound memory (300 bytes each); ended ones stay readable for a while, then leave. */
#define LIMIT_LIVE_GRANTS 4000000u
#define LIMIT_ENDED_GRANTS 1000000u
#define LIMIT_ENDED_RETENTION_MS (3600LL * 1000)
/* Idempotency: a repeated request_id gets the first outcome for this long and among this many commands. */
#define LIMIT_REQUEST_IDS 1000000u
#define LIMIT_REQUEST_ID_WINDOW_MS (600LL * 1000)
#define LIMIT_ROLE_BINDINGS 4096u
/* Due timers handled, or grants of a sweep ended, by one ADVANCE command, so that a million of them never hold the loop: 2
 * ms in the store, 10 ms with all that their events set in motion (ring, audit) where three nodes share two cores. Twice
 * as many make others' writes wait twice as long and are done no sooner. How many one really takes, raft/pace.h decides. */
#define LIMIT_ADVANCE_BATCH 1000u
/* A cluster's name and unique id. */
#define LIMIT_CLUSTER 128
/* Times past this (the year 4199) are refused or clamped: six bytes hold every time and revision of a grant. */
#define LIMIT_TIME_MS_MAX ((1LL << 46) - 1)
/* Grants under grants: each check of a child looks at its ancestors. */
#define LIMIT_GRANT_DEPTH 8u
/* Descendants that end in the same command as their ancestor; the others follow with the next ADVANCE. */
#define LIMIT_CASCADE 256u
/* One record of a snapshot; the largest is a grant with every field full, about 12 KiB. */
#define LIMIT_SNAPSHOT_RECORD (32u * 1024)

/* Enforcement points. An instance that went away stays registered for a while, hence more than will ever be connected. */
#define LIMIT_POINTS 16384u
#define LIMIT_POINTS_PER_PRINCIPAL 4096u
/* Instances of one id that are not ended yet: a point that restarts faster than its leases run out must wait. */
#define LIMIT_POINT_INSTANCES 4u
#define LIMIT_POINT_ID 64
/* Patterns of a point's or an enforcer's scope, and all of them together with a space between each. */
#define LIMIT_SCOPE_PATTERNS 8
#define LIMIT_SCOPE 1024
#define LIMIT_LEASE_MS_MIN 1000u
#define LIMIT_LEASE_MS_DEFAULT 3000u
#define LIMIT_LEASE_MS_MAX 60000u
/* A point without any stream for so long (and whose promises have run out) is ended. */
#define LIMIT_POINT_ABSENT_MS 60000u
/* Barriers whose points are followed at once; of a revocation beyond it nothing is known but that it is committed. */
#define LIMIT_BARRIERS_OPEN 65536u
/* Receipts kept, those of open barriers and the newest of the done ones: 24 bytes each and their reasons. */
#define LIMIT_RECEIPTS 1000000u
#define LIMIT_RECEIPT_REASON 256
#define LIMIT_RECEIPTS_PER_COMMAND 256u
/* A signed head of the audit log: a cluster's name, a hash, a key, a signature and numbers, and room for more. */
#define LIMIT_SIGNED_HEAD 512
/* Open sessions; one more is refused, and so is the access that it is for. */
#define LIMIT_SESSIONS 262144u
#define LIMIT_SESSIONS_PER_POINT 65536u
#define LIMIT_SESSION_DESCRIPTION 256
/* A guard's cache, unless its application sets another bound: about 350 bytes each. */
#define LIMIT_GUARD_GRANTS_DEFAULT 1000000u
/* lapse_guard_use that wait for the cluster at once in one process. */
#define LIMIT_GUARD_USES 1024u
/* Messages of a point a second, well below what a node takes from one stream, and as many at once as gather in 100 ms. */
#define LIMIT_GUARD_MESSAGES_PER_SECOND 4000u
/* Calls that wait for a barrier on one node, and barriers that it follows for them (8 KiB each): a revocation beyond it
 * takes effect and is answered PENDING at once. */
#define LIMIT_BARRIER_WAITS 8192u
/* One stream of a point. Pings: five times what its lease needs at the shortest. Messages of any kind: a batch of events
 * is acknowledged at once. Sessions and uses that are on their way to the log, and such that wait for their turn while the
 * cluster has no leader. */
#define LIMIT_POINT_PINGS_PER_SECOND 20u
#define LIMIT_POINT_MESSAGES_PER_SECOND 5000u
#define LIMIT_POINT_WRITES 64u
#define LIMIT_POINT_WRITES_WAITING 512u
/* After its goodbye a stream waits so long for the end of its instance to be committed. */
#define LIMIT_POINT_LEAVE_MS 3000u
/* Revocations of many grants that are at work at once. */
#define LIMIT_SWEEPS 64u
/* One whose index leads to no more grants than this ends them in the command itself, whatever else is at work (2 ms). */
#define LIMIT_SWEEP_AT_ONCE 1000u
/* What one slice of the others looks at, beside ending LIMIT_ADVANCE_BATCH: members of an index, which lie anywhere in
 * memory, or live grants in the order of memory (1 ms each). */
#define LIMIT_SWEEP_LOOKS 10000u
#define LIMIT_SWEEP_SCAN 25000u
/* Likewise where a policy of up to LIMIT_RULES_PER_POLICY rules is asked whether it still allows each (5 ms); not above
 * LIMIT_SWEEP_AT_ONCE. */
#define LIMIT_SWEEP_JUDGED 1000u

/* Governance: docs/decisions/0012-governance.md. What is kept of one policy, lock, ... as bytes: it has to fit into a
 * command, an event and a record of a snapshot. */
#define LIMIT_OBJECT_BYTES (18u * 1024)
#define LIMIT_OBJECT_NAME 272
#define LIMIT_POLICIES 256u
/* Of all policies: a request looks at each (0.1 ms; where each looks at the longest justification and refuses it, 7 ms, or
 * 74 ms with the worst pattern there is). */
#define LIMIT_POLICY_RULES 4096u
#define LIMIT_RULES_PER_POLICY 128u
#define LIMIT_RULE_PATTERNS 32u
/* Of a justification or a ticket; matched in time linear in the text. */
#define LIMIT_TEXT_PATTERN 128
/* Characters that it can ask for with its repetitions written out: each character of a text may be compared with each. */
#define LIMIT_TEXT_STATES 256u
/* How far back a policy's limits look: what has ended stays in memory for so long. A subject with more grants there than
 * the second number is past every limit. */
#define LIMIT_POLICY_WINDOW_MS (3600LL * 1000)
#define LIMIT_POLICY_LOOKS 10000u
/* A policy, or its tests, as people write them: what is kept of it, with room for comments and for a thousand tests. */
#define LIMIT_YAML_FILE (512u * 1024)
#define LIMIT_YAML_DEPTH 8u
#define LIMIT_YAML_NODES 32768u
#define LIMIT_YAML_KEYS 64u
#define LIMIT_LOCKS 4096u
/* Of these, and of LIMIT_SWEEPS, so many are kept for offboardings: what others have filled must not stop one. */
#define LIMIT_LOCKS_KEPT 512u
#define LIMIT_SWEEPS_KEPT 16u
#define LIMIT_LOCK_MS_MAX (366LL * 24 * 3600 * 1000)
#define LIMIT_ELIGIBILITIES 65536u
#define LIMIT_ELIGIBILITY_MS_MAX (366LL * 24 * 3600 * 1000)
/* Members of a campaign, and resources of it or of an eligibility: a campaign compares each with each. */
#define LIMIT_ELIGIBILITY_PATTERNS 8u
/* Of one principal: a request looks at all of them, an offboarding ends them in one command. */
#define LIMIT_ELIGIBILITIES_PER_MEMBER 256u
#define LIMIT_CAMPAIGNS 256u
/* Break-glass reviews that are open: one more break-glass request is refused. */
#define LIMIT_REVIEWS 4096u
/* Of these, so many by one requester: nobody takes break-glass away from all others. */
#define LIMIT_REVIEWS_PER_REQUESTER 64u
#define LIMIT_REVIEW_MS_DEFAULT (24LL * 3600 * 1000)
#define LIMIT_REVIEW_MS_MAX (7LL * 24 * 3600 * 1000)
/* One line of an export: an event's bytes in base64, and the event in JSON, where each of its bytes may take six. */
#define LIMIT_AUDIT_LINE (1024u * 1024)
/* What a verifier remembers behind it, for a head that comes later than its record (40 bytes each). */
#define LIMIT_AUDIT_HASHES_KEPT 4096u
/* Heads from elsewhere that an export is compared with. */
#define LIMIT_AUDIT_HEADS 4096u
/* Webhooks: how far each one's deliveries have come is kept by the cluster. */
#define LIMIT_HOOKS 64u

/* Audit: docs/decisions/0013-audit.md. Events that the database has not taken yet: a minute of a busy cluster; past it they
 * become a gap, which is closed from another node. */
#define LIMIT_AUDIT_QUEUE_BYTES (64u * 1024 * 1024)
/* Records of one transaction (50 ms), and stretches of records that are missing at once: past it what comes newly is
 * missing, too, until one is closed. */
#define LIMIT_AUDIT_BATCH 4096u
#define LIMIT_AUDIT_GAPS 64u
/* Questions that wait for the database, and frames of peers. */
#define LIMIT_AUDIT_JOBS 1024u
#define LIMIT_AUDIT_FRAMES 64u
/* Revisions that one call looks at before it answers with what it has and where to go on, and records of one grant. */
#define LIMIT_AUDIT_LOOKS 200000u
#define LIMIT_AUDIT_EVIDENCE 100000u
/* Nothing that a client asks holds the reader longer. */
#define LIMIT_AUDIT_STATEMENT_MS 2000u
/* Public keys of nodes, those that have left included. */
#define LIMIT_AUDIT_KEYS 64u
/* Of one node: each lost disk makes a new one. What is beyond is not believed, so that nobody crowds out the others. */
#define LIMIT_AUDIT_KEYS_PER_NODE 8u

/* Commands and entries. The largest command is a request with every field full, about 16 KiB. */
#define LIMIT_COMMAND_BYTES (24u * 1024)
#define LIMIT_ENTRY_COMMANDS 512u
#define LIMIT_ENTRY_BYTES (1024u * 1024)

/* A leader that can't commit stops taking commands here: what is in its log and not committed yet, and what other nodes
 * have sent it and is not in the log yet. */
#define LIMIT_UNCOMMITTED_BYTES (64u * 1024 * 1024)
#define LIMIT_FORWARDED_BYTES (64u * 1024 * 1024)

/* The log. */
#define LIMIT_SEGMENT_BYTES (64u * 1024 * 1024)
#define LIMIT_SNAPSHOT_CHUNK (256u * 1024)

/* A snapshot that waits for the audit database holds the log back until it is so many times as large as one that is due;
 * then the audit has a gap. */
#define LIMIT_LOG_HELD_SNAPSHOTS 4u

/* Peers: a frame holds one AppendEntries with several entries, or a snapshot chunk. */
#define LIMIT_PEER_FRAME (8u * 1024 * 1024)
#define LIMIT_PEERS 9u

/* Before its Hello nobody is known: nothing longer than a full Hello with its refusal is buffered. */
#define LIMIT_PEER_HELLO 1024u
/* Connections on the peer port that have not said Hello, and reports of refused ones per 10 s. */
#define LIMIT_PEER_STRANGERS 256u
#define LIMIT_PEER_REFUSALS 20u

/* Streams. Bytes one may queue by default, and the mark below which an owner that was above it hears on_drain. */
#define LIMIT_STREAM_SEND (8u * 1024 * 1024)
#define LIMIT_STREAM_LOW_WATER (64u * 1024)
/* What one stream may read or encrypt in one loop iteration before the others get their turn (about 0.3 ms). */
#define LIMIT_STREAM_TURN (512u * 1024)
/* Handshake steps per loop iteration: each costs 0.1 to 0.4 ms of signatures, and strangers can ask for them. */
#define LIMIT_HANDSHAKE_STEPS 8u
/* TLS: messages after the handshake (key updates, tickets) per 10 s, and bytes of a peer's certificate chain. */
#define LIMIT_TLS_CONTROL_MESSAGES 32u
#define LIMIT_TLS_CHAIN_BYTES (32u * 1024)
#define LIMIT_TLS_CHAIN_DEPTH 4
/* A certificate, key, bundle or deny list read from disk. */
#define LIMIT_TLS_FILE (4u * 1024 * 1024)

/* gRPC: the largest message is a page of grants. */
#define LIMIT_MESSAGE_IN (64u * 1024)
#define LIMIT_MESSAGE_OUT (4u * 1024 * 1024)
#define LIMIT_HEADER_BYTES (16u * 1024)
#define LIMIT_STREAMS_PER_CONNECTION 128u
#define LIMIT_PAGE 1000u
/* PING, SETTINGS, PRIORITY, WINDOW_UPDATE and empty DATA frames from one connection, and stream resets by either side. */
#define LIMIT_CONTROL_FRAMES_PER_SECOND 1000u
#define LIMIT_RESETS_PER_SECOND 100u
/* Messages a call holds before its producer must wait, and answers a connection holds before it takes no new calls: a client that asks for pages
 * and reads none would otherwise bind 512 MiB. */
#define LIMIT_CALL_QUEUE (64u * 1024)
#define LIMIT_CONNECTION_QUEUE (16u * 1024 * 1024)
/* Pages of grants that are being made or wait to be read, for one principal and for all: sixty full ones, and four such principals. */
#define LIMIT_PAGES_HELD_PER_PRINCIPAL (128ull * 1024 * 1024)
#define LIMIT_PAGES_HELD (512ull * 1024 * 1024)
/* A page ends early past this, with a token for the rest: one more grant always fits in a message. */
#define LIMIT_PAGE_BYTES (LIMIT_MESSAGE_OUT / 2)
/* A finished answer that doesn't move for so long (the client keeps its window shut) ends the connection. */
#define LIMIT_ANSWER_STALL_MS 30000u
/* A connection without calls and frames; a request (or the connection's first frame) that doesn't get complete. */
#define LIMIT_CONNECTION_IDLE_MS 300000u
#define LIMIT_REQUEST_MS 10000u

/* The daemon's configuration: twenty settings and their comments. */
#define LIMIT_CONFIG_FILE (64u * 1024)
/* A path of full length with its key and blanks. */
#define LIMIT_CONFIG_LINE 640

/* The HTTP port: a scraper, a load balancer or two, a curious operator. One that does not talk for so long is cut off. */
#define LIMIT_HTTP_CONNECTIONS 64u
#define LIMIT_HTTP_TIMEOUT_S 10u
#define LIMIT_HTTP_CONNECTION_BYTES (16u * 1024)
#define LIMIT_METRICS_BYTES (256u * 1024)
/* A question in JSON with every field full has 2 KiB. */
#define LIMIT_HTTP_BODY (16u * 1024)

/* The agent: a proxy's workers with their connections kept open; what one may hold (a certificate in a header has 2 to 6
 * KiB), and its silence, longer than nginx keeps an idle connection (60 s), so that it is the proxy that closes. */
#define LIMIT_AGENT_CONNECTIONS 4096u
#define LIMIT_AGENT_CONNECTION_BYTES (32u * 1024)
#define LIMIT_AGENT_IDLE_S 75u
#define LIMIT_AGENT_HEADERS 128u
#define LIMIT_AGENT_BODY (16u * 1024)
/* Mappings, and the pieces of one template. A template's text fits on its line. */
#define LIMIT_AGENT_MAPS 256u
#define LIMIT_AGENT_PIECES 16u
#define LIMIT_AGENT_ACTIONS 16u
#define LIMIT_AGENT_TEMPLATE 512u
/* A request's path, decoded. What is longer can't become a resource, but has to be matched. */
#define LIMIT_AGENT_PATH 4096u
/* Checks that wait for the cluster (a use to be counted, a revision to be seen), and how long one does. */
#define LIMIT_AGENT_WAITING 1024u
#define LIMIT_AGENT_WAIT_MS 5000u
#define LIMIT_AGENT_WORKERS 8u
/* The agent's local socket: PAM asks and leaves, so few are connected at once. A datagram holds a question with every
 * field full; sessions are looked through one by one. */
#define LIMIT_LOCAL_CLIENTS 256u
#define LIMIT_LOCAL_MESSAGE 4096u
#define LIMIT_LOCAL_IDLE_MS 10000u
#define LIMIT_LOCAL_SESSIONS 4096u
#define LIMIT_LOCAL_UIDS 8u
/* Denials that are logged for one reason in 10 s; the others are counted. */
#define LIMIT_AGENT_DENIALS_LOGGED 10u

#endif
