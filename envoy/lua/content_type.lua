-- Checks the content type of a body that the gateway reads.

local content_type = {}

-- The allowed parameters after the media type, without spaces.
local CONTENT_PARAMETERS = {
  [""] = true, ["charset=utf-8"] = true, ["charset=utf8"] = true, ['charset="utf-8"'] = true, ['charset="utf8"'] = true,
}

-- Returns what is wrong with a content type, or nil if it can only mean JSON in UTF-8.
function content_type.problem(value)
  local media_type, parameters = string.match(string.lower(value), "^%s*([^%s;]*)%s*;?%s*([^;]-)%s*;?%s*$")
  if media_type ~= "application/json" then return "The content-type must be application/json." end
  if CONTENT_PARAMETERS[parameters] then return nil end
  return "The content-type must be application/json, with no parameter but charset=utf-8."
end

return content_type
