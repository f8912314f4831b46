-- The usage in answers of calls that cost nothing. They may tell how many tokens another call would take.
--
-- usage/openai.lua explains the form of this table.

local openai = require("usage/openai")

return {
  wanted = { error = openai.wanted.error },
  settle = function(found) found.input_tokens, found.output_tokens = 0, 0 end,
  last = {},
  failures = {},
  ends = {},
  content = { 'text":"' },
}
