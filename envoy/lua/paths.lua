-- Reads paths by the table of paths and dialects, services/kernel/dialect.py.

local contract = require("contract")

local paths = {}

local byte, find, match, sub = string.byte, string.find, string.match, string.sub

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

-- The model that `path` names, as it is written there, and whether the call asks for a stream; nil when it names none.
function paths.model_of(path)
  for _, before in ipairs(contract.before_model) do
    if sub(path, 1, #before) == before then
      local model, verb = match(path, "^(.+):(%a+)$", #before + 1)
      return model, contract.streams_by_verb[verb] or false
    end
  end
  return nil, false
end

return paths
