-- The translator of a cluster whose clients speak Chat and whose provider speaks Messages.

local errors = require("translate/errors")
local request = require("translate/to_messages/request")

return { direction = "chat_to_messages", dialect = "anthropic", write = request.write, error = errors.body }
