-- What a content type must say of a body that the gateway reads.

local content_type = {}

-- What may stand behind the media type, without its spaces.
local CONTENT_PARAMETERS = {
  [""] = true, ["charset=utf-8"] = true, ["charset=utf8"] = true, ['charset="utf-8"'] = true, ['charset="utf8"'] = true,
}

-- What is wrong with a content type, nil when it can only mean JSON in UTF-8.
function content_type.problem(value)
  local media_type, parameters = string.match(string.lower(value), "^%s*([^%s;]*)%s*;?%s*([^;]-)%s*;?%s*$")
  if media_type ~= "application/json" then return "The content-type must be application/json." end
  if CONTENT_PARAMETERS[parameters] then return nil end
  return "The content-type must be application/json, with no parameter but charset=utf-8."
end

return content_type
