-- Reads paths by the table of endpoints, services/kernel/endpoint.py.

local contract = require("contract")

local paths = {}

local byte, char, find, gsub = string.byte, string.char, string.find, string.gsub
local match, sub = string.match, string.sub

local SLASH = 47

local function is_at_or_below(path, root)
  local size = #root
  return sub(path, 1, size) == root and (#path == size or byte(path, size + 1) == SLASH)
end

local function is_shared(path)
  if find(path, ":", 1, true) then return false end
  for _, shared in ipairs(contract.shared_paths) do
    if is_at_or_below(path, shared) then return true end
  end
  return false
end

-- The dialect in which to answer a request for `path`, even if no endpoint is there. `headers` is the request's header
-- map: where clients of all dialects ask, a header tells them apart.
function paths.dialect_of(path, headers)
  path = match(path, "^[^?]*")
  local call = contract.calls[path]
  if call then return call.dialect end
  for _, root in ipairs(contract.roots) do
    if is_at_or_below(path, root.path) and (not root.has_verb or find(path, ":", #root.path + 1, true)) then
      return root.dialect
    end
  end
  if is_shared(path) then
    for _, header in ipairs(contract.dialect_headers) do
      if headers:get(header.name) then return header.dialect end
    end
  end
  return contract.first_dialect
end

-- The endpoint at `path`, without its query, and the model that the path names, as it is written there. Nil if there is
-- no endpoint. An endpoint has `dialect`, and `scan`, the table that knows its bodies. Unless it is a chat, it also has
-- `operation`, and `meter`, the table that knows its answers. `stream` is there if the path says whether the answer is
-- one. `is_deployment` is there if the path names the model although the body may name one, too.
function paths.call_at(path)
  local call = contract.calls[path]
  if call then return call, nil end
  if sub(path, 1, #contract.before_deployment) == contract.before_deployment then
    for _, row in ipairs(contract.deployments) do
      local last = #path - #row.behind
      if last > #contract.before_deployment and sub(path, last + 1) == row.behind then
        return row.call, sub(path, #contract.before_deployment + 1, last)
      end
    end
    return nil, nil
  end
  for _, before in ipairs(contract.before_model) do
    if sub(path, 1, #before) == before then
      local model, verb = match(path, "^(.+):(%a+)$", #before + 1)
      return contract.calls_by_verb[verb], model
    end
  end
  return nil, nil
end

-- A name in a path, without its percent-encoding.
function paths.decoded(name)
  return (gsub(name, "%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end

return paths
