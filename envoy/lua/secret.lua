-- Finds keys in logged places: in names that a client chooses freely.

local contract = require("contract")

local secret = {}

local find, match = string.find, string.match
local KEY_HEADERS = contract.key_headers

-- Whether `text` contains the prefix of one of our keys.
function secret.looks_like(text)
  return find(text, "sp[ga]_") ~= nil
end

-- The same, or whether `text` contains the credential that the request presents.
function secret.is_in(headers, text)
  if secret.looks_like(text) then return true end
  for _, name in ipairs(KEY_HEADERS) do
    local presented = match(headers:get(name) or "", "[^ ]*$")
    if presented ~= "" and find(text, presented, 1, true) then return true end
  end
  return false
end

return secret
