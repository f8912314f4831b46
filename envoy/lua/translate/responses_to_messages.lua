-- The translator of a cluster whose clients speak Responses and whose provider speaks Messages: by way of Chat.

local errors = require("translate/errors")
local request = require("translate/from_responses/to_messages")

return { direction = "responses_to_messages", dialect = "anthropic", write = request.write, error = errors.body }
