-- Bodies of calls that cost nothing: what Anthropic's count_tokens, Gemini's countTokens and OpenAI's moderations may
-- hold does not matter to anybody but the provider. Only the model does.

local shape = require("dialect/shape")
local value = require("dialect/value")

local counting = {}

counting.body = shape.table({ plain = "model" })
counting.conversation = {}

-- Fills `request` from the body, unless the path names the model.
function counting.read(body, text, request)
  if not request.model then
    request.model = value.string(body, text, "model")
  elseif shape.span(body, text, "model") then
    value.refuse("The model is named in the path, not in the body.", "model")
  end
  request.stream = false
end

return counting
