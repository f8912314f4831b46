-- Writes texts for the JSON objects within the line of a call, with " and ' exchanged. services/chassis/line_text.py
-- says why.

local json = require("json")
local utf8 = require("utf8")

local line_text = {}

local gsub, sub = string.gsub, string.sub

-- `plain` as a string of such an object, including quotes. If it is not UTF-8, the ledger could not read the line, so
-- its bytes that are not ASCII are replaced.
function line_text.quote(plain)
  if not utf8.is_valid(plain) then plain = gsub(plain, "[\128-\255]", "?") end
  local inner = gsub(sub(json.quote(plain), 2, -2), "'", '"')
  return "'" .. inner .. "'"
end

return line_text
