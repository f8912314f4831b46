-- Writes what the line of a call says about its request: a text for a JSON object, which the log passes on. Keys:
-- RequestedKey in services/kernel/spool_contract.py.

local line_text = require("line_text")

local requested_line = {}

local PRINTS = { "prefix_1k", "prefix_4k", "prefix_16k", "prefix_64k", "body_print" }

-- `request` is what the scan found, `prints` are its fingerprints by name, and `client_request_id` is nil if the client
-- sent none. All other texts are our own words.
function requested_line.of(request, prints, client_request_id)
  local members = {
    "{'dialect':'" .. request.dialect .. "','model_requested':" .. line_text.quote(request.model),
    string.format("'body_bytes':%.0f", request.body_bytes),
  }
  if request.operation then members[#members + 1] = "'operation':'" .. request.operation .. "'" end
  if request.stream then members[#members + 1] = "'stream':true" end
  if request.features then members[#members + 1] = "'features':'" .. request.features .. "'" end
  for _, name in ipairs(PRINTS) do
    if prints[name] then members[#members + 1] = "'" .. name .. "':'" .. prints[name] .. "'" end
  end
  if client_request_id then members[#members + 1] = "'client_request_id':" .. line_text.quote(client_request_id) end
  return table.concat(members, ",") .. "}"
end

return requested_line
