-- Keys in places that are logged: what a client names as it likes.

local secret = {}

local find, match = string.find, string.match
local CREDENTIALS = { "authorization", "x-api-key", "api-key", "x-goog-api-key" }

-- Whether `text` holds the beginning of a key of ours.
function secret.looks_like(text)
  return find(text, "sp[ga]_") ~= nil
end

-- The same, or whether `text` holds the credential that the request presents.
function secret.is_in(headers, text)
  if secret.looks_like(text) then return true end
  for _, name in ipairs(CREDENTIALS) do
    local presented = match(headers:get(name) or "", "[^ ]*$")
    if presented ~= "" and find(text, presented, 1, true) then return true end
  end
  return false
end

return secret
