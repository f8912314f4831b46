-- Writes what the line of a call says about its request: a text of JSON, which the log passes on. Keys:
-- RequestedKey in services/kernel/spool_contract.py.

local json = require("json")

local requested_line = {}

local PRINTS = { "prefix_1k", "prefix_4k", "prefix_16k", "prefix_64k", "body_print" }

-- `request` is what the scan found, `prints` are its fingerprints by name. The model is valid UTF-8. All other texts
-- are our own words.
function requested_line.of(request, prints)
  local members = {
    '{"dialect":"' .. request.dialect .. '","model_requested":' .. json.quote(request.model),
    string.format('"body_bytes":%.0f', request.body_bytes),
  }
  if request.stream then members[#members + 1] = '"stream":true' end
  if request.features then members[#members + 1] = '"features":"' .. request.features .. '"' end
  for _, name in ipairs(PRINTS) do
    if prints[name] then members[#members + 1] = '"' .. name .. '":"' .. prints[name] .. '"' end
  end
  return table.concat(members, ",") .. "}"
end

return requested_line
