-- Publishes what a request asks for, so that quota can decide without the body. Refuses bodies that two parsers could
-- read differently. RequestKey and ScanKey in services/kernel/envoy_contract.py name the metadata.

local content_type = require("content_type")
local refusal = require("refusal")
local requested_line = require("requested_line")
local scan = require("scan")
local secret = require("secret")
local value = require("dialect/value")

local REQUEST, SCAN = "spendgate.request", "spendgate.scan"
local CLIENT_REQUEST_ID_BYTES_MAX = 128

local refuse = value.refuse
local match, sub = string.match, string.sub

local function read_text(handle, headers)
  local encoding = headers:get("content-encoding") or "identity"
  if encoding ~= "identity" then refuse("Compressed bodies are not supported.") end
  local problem = content_type.problem(headers:get("content-type") or "")
  if problem then refuse(problem) end
  -- The gateway sends its own spelling, because a provider could read the client's in another way.
  headers:replace("content-type", "application/json")
  local buffer = handle:body(true)
  return buffer:getBytes(0, buffer:length())
end

-- The client's own id of the request, for the log. Nil if there is none, or if it may hold a key.
local function take_client_request_id(headers)
  local id = headers:get("x-spendgate-client-request-id")
  if not id then return nil end
  headers:remove("x-spendgate-client-request-id")
  id = sub(id, 1, CLIENT_REQUEST_ID_BYTES_MAX)
  return not secret.is_in(headers, id) and id or nil
end

local function publish(handle, dialect)
  local headers = handle:headers()
  local path = match(headers:get(":path"), "^[^?]*")
  local metadata = handle:streamInfo():dynamicMetadata()
  local client_request_id = take_client_request_id(headers)
  if client_request_id then metadata:set(SCAN, "client_request_id", client_request_id) end
  metadata:set(REQUEST, "dialect", dialect)
  -- Quota answers all other methods itself and needs nothing from their bodies.
  if headers:get(":method") ~= "POST" then return end
  local request, scanned, prints = scan.body(read_text(handle, headers), dialect, path)
  -- The wait for the body made the earlier reference invalid.
  metadata = handle:streamInfo():dynamicMetadata()
  for key, fact in pairs(request) do metadata:set(REQUEST, key, fact) end
  metadata:set(SCAN, "scanned", scanned)
  metadata:set(SCAN, "logged", requested_line.of(request, prints, client_request_id))
end

function envoy_on_request(handle)
  local dialect = refusal.dialect_of_request(handle)
  local done, problem = pcall(publish, handle, dialect)
  if done then return end
  if type(problem) == "table" and problem.message then
    refusal.answer(handle, dialect, 400, "invalid_request", problem.message, problem.parameter)
  else
    handle:logErr("request_info: " .. tostring(problem))
    refusal.answer_unreadable(handle)
  end
end
