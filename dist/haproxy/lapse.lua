-- HAProxy (2.6 or newer) asks the agent on this machine about each request.
--
--   http-request set-var(txn.lapse_user) ...       who the client is, as HAProxy knows it
--   http-request lua.lapse-check http://127.0.0.1:7480/auth
--   http-request deny unless { var(txn.lapse) -m str permit }
--
-- Sets txn.lapse to "permit" or "deny", and txn.lapse_reason, txn.lapse_grant. Fails closed: "permit" is set at the end,
-- after a 200 from the agent, and nowhere else. Without an agent HAProxy tries for three seconds before it refuses (and for
-- 30 when the agent is there but stopped), which can't be set in 2.6: let a health check refuse before, as lapse.cfg does.
-- None of the client's own headers reach the agent.

-- The client's certificate as PEM, percent-encoded; nil without one.
local function certificate(txn)
  local der = txn.sf:ssl_c_der()
  if der == nil or der == "" then
    return nil
  end
  local lines = txn.c:base64(der):gsub("(" .. ("."):rep(64) .. ")", "%1%%0A")
  return "-----BEGIN%20CERTIFICATE-----%0A" .. lines .. "%0A-----END%20CERTIFICATE-----%0A"
end

local function add(headers, name, value)
  if value ~= nil and value ~= "" then
    headers[name] = { value }
  end
end

-- HAProxy takes a NUL in a header, and routes by what is behind it; for the agent the header would end there.
local function is_clear(headers)
  for _, values in pairs(headers) do
    if values[1]:find("%c") then
      return false
    end
  end
  return true
end

local function first(headers, name)
  local values = headers ~= nil and headers[name] or nil
  return values ~= nil and values[0] or ""
end

local function check(txn, url)
  txn:set_var("txn.lapse", "deny")
  txn:set_var("txn.lapse_reason", "AGENT_UNREACHABLE")
  local headers = {}
  add(headers, "x-original-uri", txn.sf:pathq())
  add(headers, "x-original-method", txn.sf:method())
  add(headers, "x-original-host", txn.sf:req_hdr("host"))
  add(headers, "x-real-ip", txn.sf:src())
  add(headers, "x-forwarded-user", txn:get_var("txn.lapse_user"))
  add(headers, "x-client-certificate", certificate(txn))
  if not is_clear(headers) then
    txn:set_var("txn.lapse_reason", "BAD_REQUEST")
    return
  end
  local answer = core.httpclient():get({ url = url, headers = headers, timeout = 15000 })
  if answer == nil or first(answer.headers, "x-lapse-reason") == "" then
    return
  end
  txn:set_var("txn.lapse_reason", first(answer.headers, "x-lapse-reason"))
  txn:set_var("txn.lapse_grant", first(answer.headers, "x-lapse-grant"))
  if answer.status == 200 and first(answer.headers, "x-lapse-decision") == "permit" then
    txn:set_var("txn.lapse", "permit")
  end
end

core.register_action("lapse-check", { "http-req" }, check, 1)
